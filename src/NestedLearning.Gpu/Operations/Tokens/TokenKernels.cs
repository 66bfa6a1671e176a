using ILGPU;

namespace NestedLearning.Gpu.Kernels;

/// <summary>See <see cref="Backend.CopyTokens"/>: [B, tokens, width] both, a token's elements being its width.</summary>
internal struct TokenArguments
{
    public ArrayView<float> Source, Destination;
    public int Batch, Count, Width, SourceTokens, SourceFirst, DestinationTokens, DestinationFirst, Accumulate;
}

internal static class TokenKernels
{
    public static void Copy(TokenArguments a)
    {
        long size = (long)a.Count * a.Width;
        for (long i = Groups.First; i < a.Batch * size; i += Groups.Stride)
        {
            long b = i / size, rest = i % size;
            float value = a.Source[(b * a.SourceTokens + a.SourceFirst) * a.Width + rest];
            long at = (b * a.DestinationTokens + a.DestinationFirst) * a.Width + rest;
            a.Destination[at] = a.Accumulate != 0 ? Functions.Flush(a.Destination[at] + value) : value;
        }
    }
}
