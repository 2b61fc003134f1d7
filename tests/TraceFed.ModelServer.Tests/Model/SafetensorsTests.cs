using System.Buffers.Binary;
using System.Text;
using TraceFed.ModelServer.Model;

namespace TraceFed.ModelServer.Tests.Model;

public sealed class SafetensorsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tracefed-safetensors-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void What_is_written_is_read_in_place()
    {
        var path = Path.Combine(_folder, "a.safetensors");
        byte[] first = [1, 2, 3, 4, 5, 6, 7, 8], last = [9, 10];
        using (var writer = new SafetensorsWriter(path, [("first", "F32", [2]), ("none", "BF16", [0, 7]), ("scalar é", "F16", [])], new Dictionary<string, string> { ["format"] = "pt" }))
        {
            writer.Write(first);
            writer.Write(last);
            writer.Complete();
        }
        using var file = SafetensorsFile.Open(path);
        Assert.Equal(["first", "none", "scalar é"], file.Entries.Select(e => e.Name));
        Assert.Equal("pt", file.Metadata["format"]);
        Assert.Equal(first, file.Bytes(file.Find("first")!, 0, 8).ToArray());
        Assert.Equal(first[3..5], file.Bytes(file.Find("first")!, 3, 2).ToArray());
        Assert.Equal(last, file.Bytes(file.Find("scalar é")!, 0, 2).ToArray());
        Assert.Equal((0, 0L), (file.Find("none")!.Length, file.Find("none")!.Count));
        Assert.Null(file.Find("second"));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Bytes(file.Find("first")!, 0, 9).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Bytes(file.Find("first")!, 8, 1).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Bytes(file.Find("first")!, -1, 1).Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Bytes(file.Find("first")!, long.MaxValue, 1).Length);
        var entry = file.Find("first")!;
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.Bytes(entry, 0, 1).Length);
    }

    [Fact]
    public void A_writer_that_got_too_little_or_too_much_does_not_end_well()
    {
        using var writer = new SafetensorsWriter(Path.Combine(_folder, "b.safetensors"), [("t", "U8", [3])]);
        writer.Write([1, 2]);
        Assert.Throws<InvalidOperationException>(writer.Complete);
        writer.Write([3]);
        writer.Complete();
        writer.Write([4]);
        Assert.Throws<InvalidOperationException>(writer.Complete);
    }

    [Theory]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", true)]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}      """, true)] // padding
    [InlineData("""{"__metadata__":{"a":"b"},"t":{"dtype":"F32","shape":[1,2,1],"data_offsets":[0,8]}}""", true)]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", true)]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}""", false)]
    [InlineData(""" {"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", false)]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}{}""", false)]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1}}""", false)]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}""", false)]
    [InlineData("""{"t":{"dtype":"F32","shape":[2]}}""", false)]
    [InlineData("""{"t":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}""", false)]
    [InlineData("""{"t":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", false)]
    [InlineData("""{"t":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", false)]
    [InlineData("""{"t":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}""", false)]
    [InlineData("""{"t":{"dtype":"F32","shape":[4611686018427387904,2],"data_offsets":[0,8]}}""", false)] // the product wraps to 0
    [InlineData("""{"t":{"dtype":"F32","shape":[4611686018427387906],"data_offsets":[0,8]}}""", false)]   // and to 8
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}""", false)]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}""", false)]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", false)]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}""", false)]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,99999999999999999999]}}""", false)]
    [InlineData("""{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", false)] // bytes behind
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", false)] // overlap
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}}""", false)]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"\u0061":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}}""", false)]
    [InlineData("""{"__metadata__":{"a":1},"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", false)]
    [InlineData("""{"__metadata__":{"a":"b","a":"c"},"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", false)]
    [InlineData("""{"t":[]}""", false)]
    [InlineData("""[]""", false)]
    [InlineData("""{}""", false)] // eight bytes that nobody owns
    public void Only_a_header_of_exactly_its_data_is_read(string header, bool reads)
    {
        var path = Write("h.safetensors", header, 8);
        if (reads)
        {
            using var file = SafetensorsFile.Open(path);
            Assert.Equal(8, file.Entries.Sum(e => e.Length));
        }
        else
        {
            Assert.Throws<InvalidDataException>(() => SafetensorsFile.Open(path));
        }
    }

    [Theory]
    [InlineData(0UL), InlineData(1UL), InlineData(55UL), InlineData(100_000_001UL), InlineData(ulong.MaxValue), InlineData(1UL << 63)]
    public void A_header_length_that_does_not_fit_the_file_is_refused(ulong length)
    {
        var path = Write("l.safetensors", """{"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}""", 0);
        using (var file = new FileStream(path, FileMode.Open))
        {
            Span<byte> bytes = stackalloc byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(bytes, length);
            file.Write(bytes);
        }
        Assert.Throws<InvalidDataException>(() => SafetensorsFile.Open(path));
    }

    [Fact]
    public void A_file_cut_anywhere_is_refused()
    {
        var whole = File.ReadAllBytes(Write("w.safetensors", """{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8));
        var path = Path.Combine(_folder, "cut.safetensors");
        for (var length = 0; length < whole.Length; length++)
        {
            File.WriteAllBytes(path, whole[..length]);
            Assert.Throws<InvalidDataException>(() => SafetensorsFile.Open(path));
        }
    }

    [Fact]
    public void Shards_are_one_checkpoint_and_the_index_must_tell_the_truth()
    {
        Write("one.safetensors", """{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}""", 2);
        Write("two.safetensors", """{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}""", 1);
        Index("""{"a":"one.safetensors","b":"two.safetensors"}""");
        using (var checkpoint = SafetensorsCheckpoint.Open(_folder))
        {
            Assert.Equal(["a", "b"], checkpoint.Names);
            Assert.Equal(2, checkpoint.Find("a")!.Value.Entry.Length);
            Assert.Null(checkpoint.Find("c"));
        }
        foreach (var map in new[]
        {
            """{"a":"one.safetensors","b":"one.safetensors"}""",
            """{"a":"two.safetensors","b":"two.safetensors"}""",
            """{"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"}""",
            """{"a":"one.safetensors","b":"three.safetensors"}""",
            """{"a":"../x.safetensors"}""", """{"a":"/etc/x.safetensors"}""", """{"a":".."}""", """{"a":"config.json"}""", """{"a":null}""", """{"a":1}""", "{}", "[]",
            """{"a":"one.safetensors","a":"two.safetensors"}""",
        })
        {
            Index(map);
            Assert.Throws<InvalidDataException>(() => SafetensorsCheckpoint.Open(_folder));
        }
        File.Delete(Path.Combine(_folder, SafetensorsCheckpoint.IndexName));
        Assert.Throws<InvalidDataException>(() => SafetensorsCheckpoint.Open(_folder));

        void Index(string map) => File.WriteAllText(Path.Combine(_folder, SafetensorsCheckpoint.IndexName), $$"""{"metadata":{"total_size":3},"weight_map":{{map}}}""");
    }

    [Fact]
    public void Damaged_headers_never_do_worse_than_be_refused()
    {
        var random = new Random(3);
        var whole = File.ReadAllBytes(Write("f.safetensors", """{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[],"data_offsets":[8,10]}}""", 10));
        var path = Path.Combine(_folder, "damaged.safetensors");
        for (var round = 0; round < 1500; round++)
        {
            var bytes = (byte[])whole.Clone();
            for (var k = 0; k <= round % 3; k++)
            {
                bytes[random.Next(bytes.Length - 10)] = round % 2 == 0 ? (byte)random.Next(256) : (byte)"0123456789{}[],:\""[random.Next(17)];
            }
            File.WriteAllBytes(path, bytes);
            try
            {
                using var file = SafetensorsFile.Open(path);
                foreach (var entry in file.Entries)
                {
                    Assert.Equal(entry.Length, file.Bytes(entry, 0, (int)entry.Length).Length);
                }
            }
            catch (InvalidDataException)
            {
            }
        }
    }

    private string Write(string name, string header, int data)
    {
        var path = Path.Combine(_folder, name);
        var json = Encoding.UTF8.GetBytes(header);
        var bytes = new byte[8 + json.Length + data];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, json.Length);
        json.CopyTo(bytes, 8);
        File.WriteAllBytes(path, bytes);
        return path;
    }
}
