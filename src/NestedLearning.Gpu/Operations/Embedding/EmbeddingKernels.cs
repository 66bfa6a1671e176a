using ILGPU;

namespace NestedLearning.Gpu.Kernels;

/// <summary>Tokens [N] and rows [N, D] of a table [V, D].</summary>
internal struct EmbeddingArguments
{
    public ArrayView<int> Tokens;

    /// <summary>[2, N]: where the same token stands next, or −1; and whether it stood before.</summary>
    public ArrayView<int> Links;
    public ArrayView<float> Table, Rows;
    public int Count, Width;
}

internal static class EmbeddingKernels
{
    public static void Forward(EmbeddingArguments a)
    {
        for (long i = Groups.First; i < (long)a.Count * a.Width; i += Groups.Stride)
            a.Rows[i] = a.Table[(long)a.Tokens[i / a.Width] * a.Width + i % a.Width];
    }

    // Each token looks for its next occurrence; only the one before it writes an entry, so there is no race.
    public static void Link(EmbeddingArguments a)
    {
        for (long n = Groups.First; n < a.Count; n += Groups.Stride)
        {
            int token = a.Tokens[n];
            long next = n + 1;
            while (next < a.Count && a.Tokens[next] != token)
                next++;
            a.Links[n] = next < a.Count ? (int)next : -1;
            if (next < a.Count)
                a.Links[a.Count + next] = 1;
        }
    }

    // dTable[token] += Σ dy over its occurrences, in their order, by the group of the first one.
    public static void Backward(EmbeddingArguments a)
    {
        for (int n = Grid.IdxX; n < a.Count; n += Grid.DimX)
        {
            if (a.Links[a.Count + n] != 0)
                continue;
            long row = (long)a.Tokens[n] * a.Width;
            for (int i = Group.IdxX; i < a.Width; i += Group.DimX)
            {
                float sum = a.Table[row + i];
                for (int at = n; at >= 0; at = a.Links[at])
                    sum += a.Rows[(long)at * a.Width + i];
                a.Table[row + i] = Functions.Flush(sum);
            }
        }
    }
}
