namespace TraceFed.Kernels;

/// <summary>Sixteen bytes that a device reads and writes with one instruction.</summary>
internal struct FourWords
{
    public uint A, B, C, D;
}

/// <inheritdoc cref="FourWords"/>
internal struct TwoWords
{
    public ulong A, B;
}
