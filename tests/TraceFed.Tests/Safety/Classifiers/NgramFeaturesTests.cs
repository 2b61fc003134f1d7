using System.Runtime.Intrinsics.X86;
using TraceFed.Safety.Classifiers;
using Xunit;

namespace TraceFed.Tests.Safety.Classifiers;

public class NgramFeaturesTests
{
    [Theory]
    [InlineData(8), InlineData(16), InlineData(248), InlineData(256)]
    public void NgramsOfEight_AnyBytes_EqualsScalarUpToOrder(int length)
    {
        Assert.SkipUnless(Avx512Vbmi.IsSupported && Avx512DQ.IsSupported, "This processor has no AVX-512 VBMI: the scalar path is the only one.");
        var text = new byte[length + 64];
        new Random(length).NextBytes(text);
        var scalar = new int[2 * length];
        var vector = new int[2 * length];
        NgramFeatures.Ngrams(ref text[0], length, ref scalar[0]);
        NgramFeatures.NgramsOfEight(ref text[0], length, ref vector[0]);
        Array.Sort(scalar);
        Array.Sort(vector);
        Assert.Equal(scalar, vector);
    }
}
