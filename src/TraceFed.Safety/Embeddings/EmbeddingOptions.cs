using System.ComponentModel.DataAnnotations;

namespace TraceFed.Safety.Embeddings;

/// <summary>What is taken out of embeddings before a client gets them.</summary>
public sealed class EmbeddingOptions
{
    /// <summary>
    /// The masks. For a vector, the first that lists the request's model and is made for the vector's length. A vector whose model is listed
    /// but whose length no mask is made for is withheld (502), so that a client cannot get around a mask by asking for fewer dimensions.
    /// </summary>
    public IList<EmbeddingMaskOptions> Masks { get; } = [];

    /// <summary>Largest answer to which masks are applied, in bytes, 1 KiB to 1 GiB; a larger one is withheld. Default 64 MiB: 2,048 vectors of 1,536 numbers as text.</summary>
    [Range(1024, 1 << 30)]
    public int MaxAnswerBytes { get; set; } = 64 * 1024 * 1024;
}

/// <summary>One mask: directions that are removed from vectors, or intervals that the vectors are held in along them.</summary>
public sealed class EmbeddingMaskOptions
{
    /// <summary>Id in metrics and logs: lower-case letters, digits and dashes.</summary>
    [Required, RegularExpression("^[a-z0-9-]{1,40}$")]
    public string Id { get; set; } = "";

    /// <summary>Models whose vectors it applies to, names or patterns (<c>text-embedding-*</c>), as requests name them. Default all.</summary>
    public IList<string> Models { get; } = [];

    /// <summary>Files with directions, all for vectors of the same length; together they are one mask. Read when the settings are.</summary>
    [MinLength(1)]
    public IList<string> Files { get; } = [];

    /// <summary>How much of what is outside is taken away, 0 to 1. Default 1: all.</summary>
    [Range(0.0, 1.0)]
    public double Strength { get; set; } = 1;

    /// <summary>Give a vector that was changed the length it had. Default true: clients compare vectors by their dot product and expect unit length.</summary>
    public bool KeepLength { get; set; } = true;
}
