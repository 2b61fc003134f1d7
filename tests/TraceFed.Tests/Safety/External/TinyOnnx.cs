using System.Text;
using TraceFed.Safety.External;

namespace TraceFed.Tests.Safety.External;

/// <summary>
/// A text classifier of one table, written as the protobuf bytes of an ONNX file: logits = sum over tokens of row[token].
/// The token <c>zyxwicked</c> pulls towards the second label, the start of a text towards the first.
/// </summary>
internal sealed class TinyOnnx : IDisposable
{
    public const string Wicked = "zyxwicked";
    private static readonly string[] Words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", Wicked, "calm", "weather", "jane"];

    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-onnx-").FullName;

    /// <param name="batch">Rows of the input where the model was exported for a fixed number, else 0.</param>
    public TinyOnnx(int batch = 0)
    {
        File.WriteAllLines(Vocabulary, Words);
        File.WriteAllBytes(Model, Protobuf(batch));
    }

    public string Model => Path.Combine(_folder, "tiny.onnx");
    public string Vocabulary => Path.Combine(_folder, "vocab.txt");

    public OnnxCheckOptions Options(string id = "tiny") => new() { Id = id, Model = Model, Vocabulary = Vocabulary, Labels = { "fine", "Wicked Thing" }, TimeoutSeconds = 30 };

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>A SentencePiece model (unigram) that has each word as one piece, at the row the table has it.</summary>
    public string SentencePieces()
    {
        var path = Path.Combine(_folder, "pieces.model");
        byte[] Piece(string piece, float score, ulong type) => Message(1, [.. Text(1, piece), .. Varint(2 << 3 | 5), .. BitConverter.GetBytes(score), .. Number(3, type)]);
        byte[] pieces = [.. Piece("<unk>", 0, 2), .. Piece("<s>", 0, 3), .. Piece("</s>", 0, 3), .. Piece("\u2581", -9, 1), .. Piece("calm", -3, 1), .. Piece("\u2581" + Wicked, -1, 1), .. Piece("\u2581calm", -1, 1)];
        File.WriteAllBytes(path, [.. pieces, .. Message(2, [.. Number(3, 1), .. Number(40, 0), .. Number(41, 1), .. Number(42, 2)]), .. Message(3, [.. Text(1, "identity"), .. Number(3, 1), .. Number(4, 1), .. Number(5, 1)])]);
        return path;
    }

    private static byte[] Protobuf(int batch)
    {
        var rows = new float[Words.Length * 2];
        rows[2 * Array.IndexOf(Words, Wicked) + 1] = 4; // one is enough: e⁴ to 1
        rows[2 * Array.IndexOf(Words, "[CLS]")] = 1;
        var table = new byte[rows.Length * 4];
        Buffer.BlockCopy(rows, 0, table, 0, table.Length);

        byte[] graph =
        [
            .. Message(1, [.. Text(1, "table"), .. Text(1, "input_ids"), .. Text(2, "rows"), .. Text(4, "Gather")]),
            .. Message(1, [.. Text(1, "rows"), .. Text(2, "logits"), .. Text(4, "ReduceSum"), .. Attribute("axes", 1, list: true), .. Attribute("keepdims", 0, list: false)]),
            .. Text(2, "tiny"),
            .. Message(5, [.. Number(1, (ulong)Words.Length), .. Number(1, 2), .. Number(2, 1), .. Text(8, "table"), .. Message(9, table)]),
            .. Message(11, Value("input_ids", 7, Dimension("batch", batch), Dimension("length", 0))),
            .. Message(11, Value("attention_mask", 7, Dimension("batch", batch), Dimension("length", 0))),
            .. Message(12, Value("logits", 1, Dimension("batch", batch), Dimension("", 2))),
        ];
        return [.. Number(1, 7), .. Message(8, [.. Text(1, ""), .. Number(2, 11)]), .. Message(7, graph)];
    }

    private static byte[] Value(string name, ulong element, params byte[][] dimensions) =>
        [.. Text(1, name), .. Message(2, Message(1, [.. Number(1, element), .. Message(2, [.. dimensions.SelectMany(d => Message(1, d))])]))];

    private static byte[] Dimension(string name, int size) => size > 0 ? Number(1, (ulong)size) : Text(2, name);

    private static byte[] Attribute(string name, ulong value, bool list) => Message(5, [.. Text(1, name), .. Number(list ? 8 : 3, value), .. Number(20, list ? 7UL : 2UL)]);

    private static byte[] Text(int field, string value) => Message(field, Encoding.UTF8.GetBytes(value));

    private static byte[] Message(int field, byte[] content) => [.. Varint((ulong)(field << 3 | 2)), .. Varint((ulong)content.Length), .. content];

    private static byte[] Number(int field, ulong value) => [.. Varint((ulong)(field << 3)), .. Varint(value)];

    private static byte[] Varint(ulong value)
    {
        var bytes = new List<byte>();
        for (; value > 127; value >>= 7)
            bytes.Add((byte)(value | 128));
        bytes.Add((byte)value);
        return [.. bytes];
    }
}
