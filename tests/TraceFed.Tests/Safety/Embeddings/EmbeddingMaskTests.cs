using System.Globalization;
using TraceFed.Safety;
using TraceFed.Safety.Embeddings;
using Xunit;

namespace TraceFed.Tests.Safety.Embeddings;

public sealed class EmbeddingMaskTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-embeddings-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Removed_directions_leave_no_projection_on_their_span_and_the_length_stays()
    {
        const int d = 96;
        var random = new Random(1);
        // Far from orthogonal: the span is removed, not one direction after the other.
        double[] first = Vector(random, d), second = [.. first.Zip(Vector(random, d), static (a, b) => a + 0.3 * b)];
        var mask = Load(File("two.json", Direction(first), Direction(second)));

        var rows = new float[5 * d];
        for (var i = 0; i < rows.Length; i++)
            rows[i] = (float)(random.NextDouble() - 0.5);
        var before = (float[])rows.Clone();
        var changed = new bool[5];
        mask.Apply(rows, changed);

        Assert.All(changed, Assert.True);
        for (var row = 0; row < 5; row++)
        {
            var now = rows.AsSpan(row * d, d);
            Assert.Equal(0, Dot(now, first) / Length(first), 1e-5);
            Assert.Equal(0, Dot(now, second) / Length(second), 1e-5);
            Assert.Equal(Length(before.AsSpan(row * d, d)), Length(now), 1e-5);
        }
    }

    [Fact]
    public void A_vector_inside_the_interval_keeps_its_bits_and_one_outside_goes_to_its_end()
    {
        var mask = Load(File("clamp.json", """{"vector":[2,0,0],"low":-0.25,"high":0.5}"""), keepLength: false);
        float[] rows = [0.4f, 0.1f, 3, 0.9f, 0.1f, 3, -0.3f, -0f, 1e-30f];
        var changed = new bool[3];
        mask.Apply(rows, changed);
        Assert.Equal([false, true, true], changed);
        Assert.Equal([0.4f, 0.1f, 3, 0.5f, 0.1f, 3, -0.25f, -0f, 1e-30f], rows);
    }

    [Fact]
    public void Half_the_strength_goes_half_of_the_way()
    {
        var mask = Load(File("x.json", """{"vector":[1,0]}"""), strength: 0.5, keepLength: false);
        float[] rows = [0.8f, 0.6f];
        mask.Apply(rows, new bool[1]);
        Assert.Equal([0.4f, 0.6f], rows);
    }

    [Fact]
    public void A_vector_in_the_removed_span_becomes_small_and_not_noise_of_full_length()
    {
        var mask = Load(File("x.json", """{"vector":[0.6,0.8]}"""));
        float[] rows = [0.6f, 0.8f];
        mask.Apply(rows, new bool[1]);
        Assert.True(Length(rows) < 1e-6);
    }

    [Fact]
    public void Numbers_and_base64_are_the_same_direction_and_files_together_are_one_mask()
    {
        float[] vector = [0.25f, -3, 0.125f];
        var base64 = Convert.ToBase64String(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(vector));
        float[] one = [1, 2, 3], two = [1, 2, 3];
        Load(File("a.json", """{"vector":[0.25,-3,0.125]}""", """{"vector":[0,0,1]}""")).Apply(one, new bool[1]);
        Load([File("b.json", $$"""{"vector":"{{base64}}"}"""), File("c.json", """{"vector":[0,0,1]}""")]).Apply(two, new bool[1]);
        Assert.Equal(one, two);
    }

    [Theory]
    [InlineData("""{"directions":[]}""", "0 directions")]
    [InlineData("""{"directions":[{"vector":[0,0]}]}""", "zero")]
    [InlineData("""{"directions":[{"vector":[1e39,0]}]}""", "finite")]
    [InlineData("""{"directions":[{"vector":"AAAA"}]}""", "float32")]
    [InlineData("""{"directions":[{"vector":"!"}]}""", "wrong type")]
    [InlineData("""{"directions":[{"vector":[1,2]},{"vector":[2,4]}]}""", "span")]
    [InlineData("""{"directions":[{"vector":[1,2]},{"vector":[1,2,3]}]}""", "one mask")]
    [InlineData("""{"directions":[{"vector":[1,0],"low":0},{"vector":[1,1]}]}""", "orthogonal")]
    [InlineData("""{"directions":[{"vector":[1,0],"low":1,"high":0}]}""", "interval")]
    [InlineData("""{"directions":[{"vector":[1,0],"hi":1}]}""", "unknown")]
    [InlineData("""{"directions":[{"vector":[1,0]}],"directions":[]}""", "no file of directions")]
    [InlineData("""{"directions":[{"vector":[1,0]}]} x""", "no file of directions")]
    [InlineData("""[]""", "wrong type")]
    public void A_file_that_is_no_list_of_directions_is_refused_with_the_key(string json, string reason)
    {
        var path = Path.Combine(_folder, "bad.json");
        System.IO.File.WriteAllText(path, json);
        var problem = Assert.Single(PolicySnapshot.Problems(Options([path])));
        Assert.StartsWith("safety.embeddings.masks[0].files: ", problem, StringComparison.Ordinal);
        Assert.Contains(reason, problem, StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_file_and_a_repeated_id_are_named()
    {
        var options = Options([Path.Combine(_folder, "none.json")]);
        options.Embeddings.Masks.Add(options.Embeddings.Masks[0]);
        Assert.Equal(3, PolicySnapshot.Problems(options).Count(static p => p.StartsWith("safety.embeddings.masks[", StringComparison.Ordinal)));
    }

    [Fact]
    public void Masks_are_part_of_the_policys_version()
    {
        var path = File("x.json", """{"vector":[1,0]}""");
        var versions = new HashSet<string> { PolicySnapshot.Compile(new SafetyOptions()).Version, PolicySnapshot.Compile(Options([path])).Version, PolicySnapshot.Compile(Options([path], 0.5)).Version };
        File("x.json", """{"vector":[0,1]}""");
        versions.Add(PolicySnapshot.Compile(Options([path])).Version);
        Assert.Equal(4, versions.Count);
    }

    private static EmbeddingMask Load(string path, double strength = 1, bool keepLength = true) => Load([path], strength, keepLength);

    private static EmbeddingMask Load(string[] paths, double strength = 1, bool keepLength = true) => PolicySnapshot.Compile(Options(paths, strength, keepLength)).EmbeddingMasks[0];

    private static SafetyOptions Options(string[] paths, double strength = 1, bool keepLength = true)
    {
        var options = new SafetyOptions();
        var mask = new EmbeddingMaskOptions { Id = "m", Strength = strength, KeepLength = keepLength };
        foreach (var path in paths)
            mask.Files.Add(path);
        options.Embeddings.Masks.Add(mask);
        return options;
    }

    private string File(string name, params string[] directions)
    {
        var path = Path.Combine(_folder, name);
        System.IO.File.WriteAllText(path, $$"""{"directions":[{{string.Join(',', directions)}}]}""");
        return path;
    }

    private static string Direction(double[] vector) => $$"""{"vector":[{{string.Join(',', vector.Select(static v => v.ToString("R", CultureInfo.InvariantCulture)))}}]}""";

    private static double[] Vector(Random random, int length) => [.. Enumerable.Range(0, length).Select(_ => random.NextDouble() - 0.5)];

    private static double Dot(ReadOnlySpan<float> a, double[] b)
    {
        var sum = 0.0;
        for (var i = 0; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }

    private static double Length(double[] v) => Math.Sqrt(v.Sum(static x => x * x));

    private static double Length(ReadOnlySpan<float> v)
    {
        var sum = 0.0;
        foreach (var x in v)
            sum += (double)x * x;
        return Math.Sqrt(sum);
    }
}
