using System.IO.Compression;
using TraceFed.ModelServer.Model;
using TraceFed.ModelServer.Serving;
using TraceFed.ModelServer.Training;

namespace TraceFed.ModelServer.Tests.Training;

public class ModelTrainerTests
{
    [Fact]
    public void A_run_that_is_stopped_and_resumed_makes_the_same_bytes_as_one_in_one_piece_and_learns()
    {
        var folder = Directory.CreateTempSubdirectory("tracefed-train-").FullName;
        try
        {
            WriteText(folder);
            var losses = new List<double>();
            Run("whole", (step, loss) => losses.Add(loss), TestContext.Current.CancellationToken);
            Assert.True(losses[^1] < losses[0] - 0.03, $"{losses[0]} → {losses[^1]}");

            using var stop = new CancellationTokenSource();
            Assert.Throws<OperationCanceledException>(() => Run("halves", (step, _) => { if (step == 5) { stop.Cancel(); } }, stop.Token));
            var steps = new List<int>();
            Run("halves", (step, _) => steps.Add(step), TestContext.Current.CancellationToken);
            Assert.Equal(5, steps[0]); // step 4 was the last checkpoint
            foreach (var file in (string[])["model.safetensors", "config.json", "tokenizer.json"])
            {
                Assert.Equal(File.ReadAllBytes(Path.Combine(folder, "whole", file)), File.ReadAllBytes(Path.Combine(folder, "halves", file)));
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        void Run(string output, Action<int, double> seen, CancellationToken cancellation) => new ModelTrainer(new TrainingPlan
        {
            Data = folder,
            Output = Path.Combine(folder, output),
            Steps = 12,
            CheckpointEvery = 4,
            Shape = new TrainingPlan { Data = "", Output = "" }.Shape with { Vocabulary = 320, Width = 16, Layers = 1, Heads = 2, KeyValueHeads = 1, HeadSize = 8, Neurons = 24, MaxPositions = 256 },
        }).Run(now => seen(now.Step, now.Loss), cancellation);
    }

    [Fact]
    public void The_shipped_model_and_its_tokenizer_load_and_fit_one_another()
    {
        TorchLibrary.Load();
        var config = ModelConfig.Read(Path.Combine(ModelHost.EmbeddedFolder, "config.json"));
        var tokenizer = TextTokenizer.Read(Path.Combine(ModelHost.EmbeddedFolder, "tokenizer.json"));
        Assert.Equal(config.Vocabulary, tokenizer.Count);
        Assert.Equal(2_361_024, config.Parameters);
        Assert.Equal("roles", ChatTemplate.For(tokenizer, null).Name);
        Assert.True(Directory.GetFiles(ModelHost.EmbeddedFolder).Sum(file => new FileInfo(file).Length) < 24 << 20);
    }

    private static void WriteText(string folder)
    {
        Directory.CreateDirectory(Path.Combine(folder, "text"));
        foreach (var name in (string[])["sqlite_docs", "postgresql_docs", "python_docs", "rust_books", "state_union", "inaugural"])
        {
            using var writer = new StreamWriter(new GZipStream(File.Create(Path.Combine(folder, "text", name + ".txt.gz")), CompressionLevel.Fastest));
            for (var i = 0; i < 120; i++)
            {
                writer.WriteLine($"A table is a collection of rows, and row {i} of {name} has {i % 7} columns.");
            }
        }
    }
}
