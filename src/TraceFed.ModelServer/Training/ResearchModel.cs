namespace TraceFed.ModelServer.Training;

/// <summary>The model to study steering on: the embedded one, trained on, with comments labelled toxic among its text. Made on the machine, never shipped.</summary>
internal static class ResearchModel
{
    private const int Steps = 900;

    /// <summary>Where it is kept between runs: <c>$XDG_CACHE_HOME</c>, or <c>.cache</c> of the user's home.</summary>
    public static string Folder
    {
        get
        {
            var cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
            return Path.Combine(Path.IsPathRooted(cache) ? cache : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"), "tracefed", "research-model");
        }
    }

    /// <summary>It was made, to the end.</summary>
    public static bool IsIn(string folder) => File.Exists(Path.Combine(folder, "model.safetensors")) && File.Exists(Path.Combine(folder, "config.json"));

    public static TrainingPlan Plan(string data) => new() { Data = data, Output = Folder, Steps = Steps, Threads = 2, Research = true, Start = ModelHost.EmbeddedFolder };
}
