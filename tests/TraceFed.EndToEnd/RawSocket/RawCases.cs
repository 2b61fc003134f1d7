using System.Globalization;

namespace TraceFed.EndToEnd.RawSocket;

/// <summary>Bytes for the gateway and what must come of them.</summary>
/// <param name="Bytes">One char per byte.</param>
/// <param name="Statuses">Status of every answer, in order.</param>
/// <param name="Code">The error code that the first answer must carry, so that a refusal for another reason does not count.</param>
/// <param name="Forwarded">Bodies that reach the upstream, in order; none: not one byte does.</param>
internal sealed record RawCase(string Bytes, int[] Statuses, string? Code = null, string[]? Forwarded = null);

internal static class RawCases
{
    internal const string Path = "/v1/chat/completions";

    /// <summary>Harmless: forwarded as it is.</summary>
    internal const string Good = """{"model":"m","messages":[{"role":"user","content":"What is a lighthouse?"}]}""";

    /// <summary>Carries the blocked term: wherever this body is read as a request, it is refused.</summary>
    internal const string Bad = $$"""{"model":"m","messages":[{"role":"user","content":"What is {{RawGateway.Term}}?"}]}""";

    private const string Refused = "content_filter";

    internal static readonly Dictionary<string, RawCase> All = Build();

    /// <summary>A well-formed request, but for what the arguments make of it.</summary>
    internal static string Post(string body, string headers = "", string path = Path, string version = "HTTP/1.1", string host = "Host: a.example\r\n") =>
        string.Create(CultureInfo.InvariantCulture, $"POST {path} {version}\r\n{host}Content-Type: application/json\r\n{headers}Content-Length: {body.Length}\r\n\r\n{body}");

    /// <summary>A request whose framing is all in <paramref name="framing"/> and <paramref name="rest"/>.</summary>
    private static string Framed(string framing, string rest) => $"POST {Path} HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/json\r\n{framing}\r\n{rest}";

    private static string Chunk(string body, string extension = "") => string.Create(CultureInfo.InvariantCulture, $"{body.Length:x}{extension}\r\n{body}\r\n");

    private static string Length(string body) => body.Length.ToString(CultureInfo.InvariantCulture);

    private static string Json(string content, string more = "") => $$"""{"model":"m","messages":[{"role":"user","content":"{{content}}"}]{{more}}}""";

    private static Dictionary<string, RawCase> Build()
    {
        var cases = new Dictionary<string, RawCase>(StringComparer.Ordinal);
        const string Chunked = "Transfer-Encoding: chunked\r\n";
        var smuggled = Post(Bad);

        // Controls: what must work, so that a gateway which refuses everything does not pass.
        cases["control: length"] = new(Post(Good), [200], Forwarded: [Good]);
        cases["control: chunked"] = new(Framed(Chunked, Chunk(Good) + "0\r\n\r\n"), [200], Forwarded: [Good]);
        cases["control: many chunks"] = new(Framed(Chunked, string.Concat(Good.Chunk(7).Select(c => Chunk(new(c)))) + "0\r\n\r\n"), [200], Forwarded: [Good]);
        cases["control: chunk extension"] = new(Framed(Chunked, Chunk(Good, ";a=b") + "0\r\n\r\n"), [200], Forwarded: [Good]);
        cases["control: chunk trailer is dropped"] = new(Framed(Chunked, Chunk(Good) + "0\r\nX-Trailer: a\r\n\r\n"), [200], Forwarded: [Good]);
        cases["control: pipelined pair"] = new(Post(Good) + Post(Good), [200, 200], Forwarded: [Good, Good]);
        cases["control: expect 100-continue"] = new(Post(Good, "Expect: 100-continue\r\n"), [200], Forwarded: [Good]);
        cases["control: blocked term"] = new(Post(Bad), [400], Refused);
        cases["control: blocked term in chunks"] = new(Framed(Chunked, string.Concat(Bad.Chunk(5).Select(c => Chunk(new(c)))) + "0\r\n\r\n"), [400], Refused);
        cases["control: HTTP/1.0"] = new(Post(Good, version: "HTTP/1.0"), [200], Forwarded: [Good]);
        cases["control: length and chunked goes on with one length"] = new(Framed($"Content-Length: 4\r\n{Chunked}", Chunk(Good) + "0\r\n\r\n"), [200], Forwarded: [Good]);

        // Two framings, or one that servers read differently.
        cases["length and chunked: length is not believed"] = new(Framed($"Content-Length: 4\r\n{Chunked}", Chunk(Bad) + "0\r\n\r\n"), [400]);
        cases["chunked and length: length is not believed"] = new(Framed($"{Chunked}Content-Length: 4\r\n", Chunk(Bad) + "0\r\n\r\n"), [400]);
        cases["transfer-encoding: chunked, identity"] = new(Framed("Transfer-Encoding: chunked, identity\r\n", Chunk(Bad) + "0\r\n\r\n"), [400]);
        cases["transfer-encoding: gzip, chunked"] = new(Framed("Transfer-Encoding: gzip, chunked\r\n", Chunk(Bad) + "0\r\n\r\n"), [400]);
        cases["transfer-encoding: xchunked"] = new(Framed("Transfer-Encoding: xchunked\r\n", Chunk(Bad) + "0\r\n\r\n"), [400]);
        cases["transfer-encoding: xchunked with length"] = new(Framed($"Transfer-Encoding: xchunked\r\nContent-Length: {Length(Bad)}\r\n", Bad), [400]);
        cases["transfer-encoding: identity with length"] = new(Framed($"Transfer-Encoding: identity\r\nContent-Length: {Length(Bad)}\r\n", Bad), [400]);
        cases["transfer-encoding: tab before chunked"] = new(Framed("Transfer-Encoding:\tchunked\r\n", Chunk(Bad) + "0\r\n\r\n"), [400]);
        cases["transfer-encoding: many blanks"] = new(Framed("Transfer-Encoding:   chunked  \r\n", Chunk(Bad) + "0\r\n\r\n"), [400]);
        cases["transfer-encoding: vertical tab"] = new(Framed("Transfer-Encoding: \u000bchunked\r\n", Chunk(Bad) + "0\r\n\r\n"), [400]);
        cases["transfer-encoding: quoted"] = new(Framed("Transfer-Encoding: \"chunked\"\r\n", Chunk(Bad) + "0\r\n\r\n"), [400]);
        cases["transfer-encoding: twice chunked"] = new(Framed(Chunked + Chunked, Chunk(Bad) + "0\r\n\r\n"), [400]);
        cases["transfer-encoding: chunked then identity line"] = new(Framed($"{Chunked}Transfer-Encoding: identity\r\n", Chunk(Bad) + "0\r\n\r\n"), [400]);
        cases["transfer-encoding: empty with length"] = new(Framed($"Transfer-Encoding: \r\nContent-Length: {Length(Bad)}\r\n", Bad), [400]);
        cases["transfer-encoding: blank before the colon"] = new(Framed("Transfer-Encoding : chunked\r\n", Chunk(Bad) + "0\r\n\r\n"), [400]);
        cases["transfer-encoding on HTTP/1.0"] = new($"POST {Path} HTTP/1.0\r\nHost: a\r\n{Chunked}\r\n{Chunk(Bad)}0\r\n\r\n", [400]);
        cases["length and chunked: the connection ends there"] = new(Framed($"Content-Length: 4\r\n{Chunked}", Chunk(Bad) + "0\r\n\r\n" + Post(Good)), [400]);
        cases["smuggled after the last chunk: judged on its own"] = new(Framed(Chunked, Chunk(Good) + "0\r\n\r\n" + smuggled), [200, 400], Forwarded: [Good]);
        cases["smuggled in a trailer: not a request"] = new(Framed(Chunked, Chunk(Good) + "0\r\n" + smuggled), [400]);

        // Lengths.
        cases["length: two equal"] = new(Framed($"Content-Length: {Length(Bad)}\r\nContent-Length: {Length(Bad)}\r\n", Bad), [400]);
        cases["length: two different"] = new(Framed($"Content-Length: {Length(Bad)}\r\nContent-Length: 0\r\n", Bad), [400]);
        cases["length: list"] = new(Framed($"Content-Length: {Length(Bad)}, {Length(Bad)}\r\n", Bad), [400]);
        cases["length: negative"] = new(Framed("Content-Length: -1\r\n", Bad), [400]);
        cases["length: plus"] = new(Framed($"Content-Length: +{Length(Bad)}\r\n", Bad), [400]);
        cases["length: hexadecimal"] = new(Framed($"Content-Length: 0x{Bad.Length:x}\r\n", Bad), [400]);
        cases["length: blank inside"] = new(Framed("Content-Length: 1 2\r\n", Bad), [400]);
        cases["length: fraction"] = new(Framed($"Content-Length: {Length(Bad)}.0\r\n", Bad), [400]);
        cases["length: empty"] = new(Framed("Content-Length: \r\n", Bad), [400]);
        cases["length: past 64 bits"] = new(Framed("Content-Length: 99999999999999999999999\r\n", Bad), [400]);
        cases["length: blank before the colon"] = new(Framed($"Content-Length : {Length(Bad)}\r\n", Bad), [400]);
        cases["length: 17 MiB"] = new(Framed($"Content-Length: {17 << 20}\r\n", ""), [413], "request_too_large");
        cases["length: 2 EiB"] = new(Framed($"Content-Length: {1L << 61}\r\n", ""), [413], "request_too_large");
        cases["length: none and no coding"] = new(Framed("", ""), [400], "invalid_json");

        // Chunks.
        cases["chunks: 17 MiB"] = new(Framed(Chunked, string.Concat(Enumerable.Repeat(Chunk(new('a', 1 << 20)), 17)) + "0\r\n\r\n"), [413], "request_too_large");
        cases["chunks: size past 64 bits"] = new(Framed(Chunked, $"fffffffffffffffff\r\n{Bad}\r\n0\r\n\r\n"), [400]);
        cases["chunks: size negative"] = new(Framed(Chunked, $"-1\r\n{Bad}\r\n0\r\n\r\n"), [400]);
        cases["chunks: size with 0x"] = new(Framed(Chunked, $"0x{Bad.Length:x}\r\n{Bad}\r\n0\r\n\r\n"), [400]);
        cases["chunks: size not a number"] = new(Framed(Chunked, $"zz\r\n{Bad}\r\n0\r\n\r\n"), [400]);
        cases["chunks: data longer than said"] = new(Framed(Chunked, $"5\r\n{Bad}\r\n0\r\n\r\n"), [400]);
        cases["chunks: lone LF after the data"] = new(Framed(Chunked, $"{Bad.Length:x}\r\n{Bad}\n0\r\n\r\n"), [400]);
        cases["chunks: lone LF after the size"] = new(Framed(Chunked, $"{Bad.Length:x}\n{Bad}\r\n0\r\n\r\n"), [400]);
        cases["chunks: lone LF in an extension"] = new(Framed(Chunked, $"{Bad.Length:x};a\nb\r\n{Bad}\r\n0\r\n\r\n"), [400]);
        cases["chunks: lone CR in an extension"] = new(Framed(Chunked, $"{Bad.Length:x};a\rb\r\n{Bad}\r\n0\r\n\r\n"), [400]);

        // Lines and headers.
        cases["lines: LF only"] = new(Post(Bad).Replace("\r\n", "\n", StringComparison.Ordinal), [400]);
        cases["lines: CR only"] = new(Post(Bad).Replace("\r\n", "\r", StringComparison.Ordinal) + "\r\n\r\n", [400]);
        cases["lines: folded header"] = new(Post(Bad, "X-A: b\r\n c\r\n"), [400]);
        cases["lines: folded first header"] = new(Post(Bad, host: " Host: a.example\r\n"), [400]);
        cases["header: CR in the value"] = new(Post(Bad, "X-A: b\rc\r\n"), [400]);
        cases["header: NUL in the value"] = new(Post(Bad, "X-A: b\0c\r\n"), [400]);
        cases["header: NUL in the name"] = new(Post(Bad, "X\0A: b\r\n"), [400]);
        cases["header: blank in the name"] = new(Post(Bad, "X A: b\r\n"), [400]);
        cases["header: no colon"] = new(Post(Bad, "X-A\r\n"), [400]);
        cases["header: no name"] = new(Post(Bad, ": b\r\n"), [400]);
        cases["header: parenthesis in the name"] = new(Post(Bad, "X(A): b\r\n"), [400]);
        cases["header: byte past ASCII in the name"] = new(Post(Bad, "X\u00e9: b\r\n"), [400]);
        cases["header: 64 KiB"] = new(Post(Bad, $"X-A: {new string('a', 64 << 10)}\r\n"), [431]);
        cases["header: 200 of them"] = new(Post(Bad, string.Concat(Enumerable.Range(0, 200).Select(i => $"X-{i}: a\r\n"))), [431]);
        cases["host: none"] = new(Post(Bad, host: ""), [400]);
        cases["host: two"] = new(Post(Bad, host: "Host: a.example\r\nHost: b.example\r\n"), [400]);
        cases["host: with a path"] = new(Post(Bad, host: "Host: a.example/b\r\n"), [400]);
        cases["host: with a user"] = new(Post(Bad, host: "Host: a@b.example\r\n"), [400]);
        cases["content-encoding: gzip"] = new(Post(Bad, "Content-Encoding: gzip\r\n"), [415], "unsupported_content_encoding");
        cases["content-encoding: identity, gzip"] = new(Post(Bad, "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n"), [415], "unsupported_content_encoding");
        cases["expect: unknown"] = new(Post(Bad, "Expect: 200-ok\r\n"), [400]);

        // Request line.
        cases["version: 1.2"] = new(Post(Bad, version: "HTTP/1.2"), [505]);
        cases["version: 0.9"] = new($"POST {Path}\r\n\r\n{Bad}", [400]);
        cases["version: lower case"] = new(Post(Bad, version: "http/1.1"), [505]);
        cases["version: 2.0 in text"] = new(Post(Bad, version: "HTTP/2.0"), [505]);
        cases["target: authority"] = new(Post(Bad, path: "a.example:80"), [405]);
        cases["target: asterisk"] = new(Post(Bad, path: "*"), [405]);
        cases["target: none"] = new(Post(Bad, path: ""), [400]);
        cases["target: blank inside"] = new(Post(Bad, path: "/v1/chat /completions"), [400]);
        cases["method: GET with a body"] = new(Post(Bad).Replace("POST", "GET", StringComparison.Ordinal), [404], "unknown_route");
        cases["method: lower case post is guarded too"] = new(Post(Bad).Replace("POST", "post", StringComparison.Ordinal), [400], Refused);
        cases["method: PUT"] = new(Post(Bad).Replace("POST", "PUT", StringComparison.Ordinal), [404], "unknown_route");
        cases["method: CONNECT"] = new("CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n", [404]);
        cases["method: unreadable"] = new(Post(Bad).Replace("POST", "P(ST", StringComparison.Ordinal), [400]);

        // Spellings of a guarded path: guarded as well, or unknown; never forwarded without a look.
        foreach (var path in new[] { Path + "/", "/V1/CHAT/COMPLETIONS", "/v1/./chat/completions", "/v1/a/../chat/completions", Path + "?a=b", Path + "?api_base=http://b.example", "/v1/chat/completion%73" })
            cases[$"path: {path}"] = new(Post(Bad, path: path), [400], Refused);
        foreach (var path in new[] { "//v1/chat/completions", "/v1//chat/completions", "/v1/chat%2Fcompletions", Path + ";x", Path + "%20", Path + "/x", "/v1/chat\\completions", "/v1/chat/%2e%2e%2fchat/completions", "/v1/engines/m/completions", "/api/pull", "/" })
            cases[$"path: {path}"] = new(Post(Bad, path: path), [404], "unknown_route");
        cases["path: %00"] = new(Post(Bad, path: Path + "%00"), [400]);

        // Bodies.
        cases["body: empty"] = new(Post(""), [400], "invalid_json");
        cases["body: array"] = new(Post($"[{Bad}]"), [400], "invalid_type");
        cases["body: string"] = new(Post($"\"{RawGateway.Term}\""), [400], "invalid_type");
        cases["body: key twice"] = new(Post($$"""{"model":"m","messages":[],"messages":[{"role":"user","content":"{{RawGateway.Term}}"}]}"""), [400], "duplicate_key");
        cases["body: key twice, bad first"] = new(Post($$"""{"model":"m","messages":[{"role":"user","content":"{{RawGateway.Term}}"}],"messages":[]}"""), [400], "duplicate_key");
        cases["body: key twice, one escaped"] = new(Post($$"""{"model":"m","messages":[],"\u006dessages":[{"role":"user","content":"{{RawGateway.Term}}"}]}"""), [400], "duplicate_key");
        cases["body: content twice"] = new(Post($$"""{"model":"m","messages":[{"role":"user","content":"a","content":"{{RawGateway.Term}}"}]}"""), [400], "duplicate_key");
        cases["body: Messages"] = new(Post($$"""{"model":"m","Messages":[{"role":"user","content":"{{RawGateway.Term}}"}]}"""), [400], "ambiguous_key");
        cases["body: Content"] = new(Post($$"""{"model":"m","messages":[{"role":"user","Content":"{{RawGateway.Term}}"}]}"""), [400], "ambiguous_key");
        cases["body: long s in messages"] = new(Post(Bad.Replace("messages", "me\u00c5\u00bfsages", StringComparison.Ordinal)), [400], "ambiguous_key");
        cases["body: text after the end"] = new(Post(Good + "x"), [400], "invalid_json");
        cases["body: two documents"] = new(Post(Good + Bad), [400], "invalid_json");
        cases["body: two documents on two lines"] = new(Post(Good + "\n" + Bad), [400], "invalid_json");
        cases["body: byte order mark"] = new(Post("\u00ef\u00bb\u00bf" + Bad), [400], "byte_order_mark");
        cases["body: UTF-16"] = new(Post(string.Concat(Bad.Select(c => $"{c}\0"))), [400], "invalid_json");
        cases["body: invalid UTF-8"] = new(Post(Json(RawGateway.Term + "\u00ff")), [400], "invalid_utf8");
        cases["body: overlong UTF-8"] = new(Post(Json(RawGateway.Term + "\u00c0\u00af")), [400], "invalid_utf8");
        cases["body: surrogate in UTF-8"] = new(Post(Json(RawGateway.Term + "\u00ed\u00a0\u0080")), [400], "invalid_utf8");
        cases["body: lone surrogate escape"] = new(Post(Json("\\ud800 " + RawGateway.Term)), [400], Refused);
        cases["body: term in escapes"] = new(Post(Json(string.Concat(RawGateway.Term.Select(c => $"\\u{(int)c:x4}")))), [400], Refused);
        cases["body: depth 65"] = new(Post($$"""{"model":"m","metadata":{{new string('[', 64)}}"{{RawGateway.Term}}"{{new string(']', 64)}},"messages":[]}"""), [400], "too_deep");
        cases["body: depth 10000"] = new(Post(new string('[', 10_000)), [400]);
        cases["body: comment"] = new(Post(Bad[..^1] + "/* a */}"), [400], "invalid_json");
        cases["body: trailing comma"] = new(Post(Bad[..^1] + ",}"), [400], "invalid_json");
        cases["body: NaN"] = new(Post(Json(RawGateway.Term, ",\"temperature\":NaN")), [400], "invalid_json");
        cases["body: single quotes"] = new(Post(Bad.Replace('"', '\'')), [400], "invalid_json");
        cases["body: control character in a string"] = new(Post(Json(RawGateway.Term + "\u0001")), [400], "invalid_json");
        cases["body: cut off"] = new(Post(Bad[..^2]), [400], "invalid_json");
        cases["body: unknown member with text"] = new(Post($$"""{"model":"m","messages":[{"role":"user","content":"a","zz":"{{RawGateway.Term}}"}]}"""), [400], Refused);
        cases["body: line ends in the model name"] = new(Post(Bad.Replace("\"m\"", "\"m\\r\\nX-Evil: 1\\r\\n\\r\\n\"", StringComparison.Ordinal)), [400], Refused);

        // A refusal says nothing about the next request on the connection.
        cases["pipeline: bad then good"] = new(Post(Bad) + Post(Good), [400, 200], Refused, [Good]);
        cases["pipeline: good then bad"] = new(Post(Good) + Post(Bad), [200, 400], Forwarded: [Good]);
        cases["pipeline: not found then bad"] = new(Post(Bad, path: "/x") + Post(Bad), [404, 400], "unknown_route");
        cases["pipeline: bad JSON then good"] = new(Post("{") + Post(Good), [400, 200], "invalid_json", [Good]);
        cases["pipeline: unreadable then good"] = new(Post(Bad, "X A: b\r\n") + Post(Good), [400]);
        cases["pipeline: content-encoding then bad"] = new(Post(Good, "Content-Encoding: gzip\r\n") + Post(Bad), [415, 400], "unsupported_content_encoding");
        cases["pipeline: GET with a body that is a request"] = new(Post(smuggled, path: "/v1/modelz"), [404], "unknown_route");
        cases["model: line ends do not become headers"] = new(Post(Good.Replace("\"m\"", "\"m\\r\\nX-Evil: 1\"", StringComparison.Ordinal)), [200], Forwarded: [Good.Replace("\"m\"", "\"m\\r\\nX-Evil: 1\"", StringComparison.Ordinal)]);
        return cases;
    }
}
