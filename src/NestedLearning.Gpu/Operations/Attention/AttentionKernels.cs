using ILGPU;
using ILGPU.Algorithms;

namespace NestedLearning.Gpu.Kernels;

/// <summary>Causal attention; shapes as in <see cref="AttentionInputs"/>.</summary>
internal struct AttentionArguments
{
    public ArrayView<float> Q, K, V, O, LogSums, DO, DQ, DK, DV;

    /// <summary>⟨do, o⟩ [B, T, H].</summary>
    public ArrayView<float> Deltas;
    public int Batch, Time, Keys, Heads, KeyDim, ValueDim;
    public float Scale;
}

/// <summary>
/// By tiles of queries and keys, so that no scores but a tile's are ever in memory. A group takes a block of queries (or, for
/// dk and dv, of keys) of one head; sums over the other run in order, each thread adding up columns of its own.
/// </summary>
internal static class AttentionKernels
{
    /// <summary>Queries and keys of a tile.</summary>
    public const int Tile = 16;

    // Elements of q and k, or of v and do, that are in shared memory at once.
    private const int Depth = 32, Pitch = Depth + 1;

    // o_t = Σ_j e^(s_tj − logSum_t) v_j by the online softmax: with a running maximum m, sums are scaled by e^(m − m') when it grows.
    public static void Forward(AttentionArguments a)
    {
        ArrayView<float> left = SharedMemory.Allocate<float>(Tile * Pitch), right = SharedMemory.Allocate<float>(Tile * Pitch);
        ArrayView<float> scores = SharedMemory.Allocate<float>(Tile * Tile), maxima = SharedMemory.Allocate<float>(Tile);
        ArrayView<float> sums = SharedMemory.Allocate<float>(Tile), corrections = SharedMemory.Allocate<float>(Tile);
        int blocks = (a.Time + Tile - 1) / Tile;
        for (int work = Grid.IdxX; work < blocks * a.Batch * a.Heads; work += Grid.DimX)
        {
            int head = work / blocks, first = work % blocks * Tile;
            int last = XMath.Min(first + Tile, a.Time) - 1, before = a.Keys - a.Time;
            Group.Barrier();
            for (int i = Group.IdxX; i < Tile; i += Group.DimX)
            {
                maxima[i] = float.NegativeInfinity;
                sums[i] = 0;
            }

            for (int key = 0; key <= before + last; key += Tile)
            {
                Products(a.Q, Row(a, head, first, a.Time, a.KeyDim), a.Time - first, a.K, Row(a, head, key, a.Keys, a.KeyDim), a.Keys - key,
                    a.KeyDim, a.Heads, left, right, scores);
                for (int i = Group.IdxX; i < Tile; i += Group.DimX)
                {
                    int seen = Seen(a, first + i, key);
                    float maximum = maxima[i];
                    for (int j = 0; j < seen; j++)
                        maximum = Functions.Larger(maximum, scores[i * Tile + j] * a.Scale);
                    // Where all scores are −∞ so far there is nothing to scale.
                    float correction = maxima[i] == maximum ? 1 : Functions.Exp(maxima[i] - maximum), sum = 0;
                    for (int j = 0; j < seen; j++)
                    {
                        float p = Functions.Exp(scores[i * Tile + j] * a.Scale - maximum);
                        scores[i * Tile + j] = p;
                        sum += p;
                    }

                    corrections[i] = correction;
                    sums[i] = sums[i] * correction + sum;
                    maxima[i] = maximum;
                }

                Group.Barrier();
                for (int column = Group.IdxX; column < a.ValueDim; column += Group.DimX)
                {
                    for (int i = 0; i <= last - first; i++)
                    {
                        long at = Row(a, head, first + i, a.Time, a.ValueDim) + column;
                        float sum = key == 0 ? 0 : a.O[at] * corrections[i];
                        int seen = Seen(a, first + i, key);
                        for (int j = 0; j < seen; j++)
                            sum += scores[i * Tile + j] * a.V[Row(a, head, key + j, a.Keys, a.ValueDim) + column];
                        a.O[at] = sum;
                    }
                }

                Group.Barrier();
            }

            Group.Barrier();
            for (int column = Group.IdxX; column < a.ValueDim; column += Group.DimX)
            {
                for (int i = 0; i <= last - first; i++)
                {
                    long at = Row(a, head, first + i, a.Time, a.ValueDim) + column;
                    a.O[at] = Functions.Flush(a.O[at] / sums[i]);
                }
            }

            for (int i = Group.IdxX; i <= last - first && a.LogSums.Length != 0; i += Group.DimX)
                a.LogSums[Row(a, head, first + i, a.Time, 1)] = maxima[i] + Functions.LogFromOne(sums[i]);
            Group.Barrier();
        }
    }

    // delta_t = ⟨do_t, o_t⟩
    public static void Deltas(AttentionArguments a)
    {
        for (long i = Groups.First; i < a.Deltas.Length; i += Groups.Stride)
        {
            float sum = 0;
            for (int j = 0; j < a.ValueDim; j++)
                sum += a.DO[i * a.ValueDim + j] * a.O[i * a.ValueDim + j];
            a.Deltas[i] = sum;
        }
    }

    // p = e^(s − logSum),  ds = p ∘ (do vᵀ − delta):  dq_t = scale · Σ_j ds_tj k_j
    public static void BackwardQueries(AttentionArguments a)
    {
        ArrayView<float> left = SharedMemory.Allocate<float>(Tile * Pitch), right = SharedMemory.Allocate<float>(Tile * Pitch);
        ArrayView<float> scores = SharedMemory.Allocate<float>(Tile * Tile), dScores = SharedMemory.Allocate<float>(Tile * Tile);
        int blocks = (a.Time + Tile - 1) / Tile;
        for (int work = Grid.IdxX; work < blocks * a.Batch * a.Heads; work += Grid.DimX)
        {
            int head = work / blocks, first = work % blocks * Tile;
            int last = XMath.Min(first + Tile, a.Time) - 1, before = a.Keys - a.Time;
            for (int key = 0; key <= before + last; key += Tile)
            {
                Gradients(a, head, first, key, left, right, scores, dScores);
                for (int column = Group.IdxX; column < a.KeyDim; column += Group.DimX)
                {
                    for (int i = 0; i <= last - first; i++)
                    {
                        long at = Row(a, head, first + i, a.Time, a.KeyDim) + column;
                        float sum = 0;
                        int seen = Seen(a, first + i, key);
                        for (int j = 0; j < seen; j++)
                            sum += dScores[i * Tile + j] * a.K[Row(a, head, key + j, a.Keys, a.KeyDim) + column];
                        a.DQ[at] = Functions.Flush(key == 0 ? sum * a.Scale : a.DQ[at] + sum * a.Scale);
                    }
                }

                Group.Barrier();
            }
        }
    }

    // dk_j = scale · Σ_t ds_tj q_t,  dv_j = Σ_t p_tj do_t
    public static void BackwardKeys(AttentionArguments a)
    {
        ArrayView<float> left = SharedMemory.Allocate<float>(Tile * Pitch), right = SharedMemory.Allocate<float>(Tile * Pitch);
        ArrayView<float> scores = SharedMemory.Allocate<float>(Tile * Tile), dScores = SharedMemory.Allocate<float>(Tile * Tile);
        int blocks = (a.Keys + Tile - 1) / Tile;
        for (int work = Grid.IdxX; work < blocks * a.Batch * a.Heads; work += Grid.DimX)
        {
            int head = work / blocks, key = work % blocks * Tile;
            int keys = XMath.Min(Tile, a.Keys - key);
            // The first block of queries that has one which sees the first of these keys.
            int start = XMath.Max(0, key - (a.Keys - a.Time)) / Tile * Tile;
            for (int first = start; first < a.Time; first += Tile)
            {
                int queries = XMath.Min(Tile, a.Time - first);
                Gradients(a, head, first, key, left, right, scores, dScores);
                for (int column = Group.IdxX; column < a.KeyDim && a.DK.Length != 0; column += Group.DimX)
                {
                    for (int j = 0; j < keys; j++)
                    {
                        long at = Row(a, head, key + j, a.Keys, a.KeyDim) + column;
                        float sum = 0;
                        for (int i = 0; i < queries; i++)
                        {
                            if (j < Seen(a, first + i, key))
                                sum += dScores[i * Tile + j] * a.Q[Row(a, head, first + i, a.Time, a.KeyDim) + column];
                        }

                        a.DK[at] = Functions.Flush(first == start ? sum * a.Scale : a.DK[at] + sum * a.Scale);
                    }
                }

                for (int column = Group.IdxX; column < a.ValueDim && a.DV.Length != 0; column += Group.DimX)
                {
                    for (int j = 0; j < keys; j++)
                    {
                        long at = Row(a, head, key + j, a.Keys, a.ValueDim) + column;
                        float sum = 0;
                        for (int i = 0; i < queries; i++)
                        {
                            if (j < Seen(a, first + i, key))
                                sum += scores[i * Tile + j] * a.DO[Row(a, head, first + i, a.Time, a.ValueDim) + column];
                        }

                        a.DV[at] = Functions.Flush(first == start ? sum : a.DV[at] + sum);
                    }
                }

                Group.Barrier();
            }
        }
    }

    // scores = p and dScores = ds of a tile.
    private static void Gradients(
        AttentionArguments a, int head, int first, int key, ArrayView<float> left, ArrayView<float> right, ArrayView<float> scores,
        ArrayView<float> dScores)
    {
        Products(a.Q, Row(a, head, first, a.Time, a.KeyDim), a.Time - first, a.K, Row(a, head, key, a.Keys, a.KeyDim), a.Keys - key,
            a.KeyDim, a.Heads, left, right, scores);
        Products(a.DO, Row(a, head, first, a.Time, a.ValueDim), a.Time - first, a.V, Row(a, head, key, a.Keys, a.ValueDim), a.Keys - key,
            a.ValueDim, a.Heads, left, right, dScores);
        for (int at = Group.IdxX; at < Tile * Tile; at += Group.DimX)
        {
            int i = at / Tile, j = at % Tile;
            if (j >= Seen(a, first + i, key))
                continue;
            long row = Row(a, head, first + i, a.Time, 1);
            float p = Functions.Exp(scores[at] * a.Scale - a.LogSums[row]);
            scores[at] = p;
            dScores[at] = Functions.Flush(p * (dScores[at] - a.Deltas[row]));
        }

        Group.Barrier();
    }

    // result[i, j] = ⟨x_i, y_j⟩ of a tile's rows, where there are so many; 0 beyond. All threads of the group come here together.
    private static void Products(
        ArrayView<float> x, long xStart, int xRows, ArrayView<float> y, long yStart, int yRows, int dim, int heads,
        ArrayView<float> left, ArrayView<float> right, ArrayView<float> result)
    {
        Group.Barrier();
        for (int at = Group.IdxX; at < Tile * Tile; at += Group.DimX)
            result[at] = 0;
        for (int start = 0; start < dim; start += Depth)
        {
            Group.Barrier();
            for (int at = Group.IdxX; at < Tile * Depth; at += Group.DimX)
            {
                int i = at / Depth, d = at % Depth;
                long offset = (long)i * heads * dim + start + d;
                left[i * Pitch + d] = i < xRows && start + d < dim ? x[xStart + offset] : 0;
                right[i * Pitch + d] = i < yRows && start + d < dim ? y[yStart + offset] : 0;
            }

            Group.Barrier();
            for (int at = Group.IdxX; at < Tile * Tile; at += Group.DimX)
            {
                float sum = result[at];
                for (int d = 0; d < Depth; d++)
                    sum += left[at / Tile * Pitch + d] * right[at % Tile * Pitch + d];
                result[at] = sum;
            }
        }

        Group.Barrier();
    }

    // Where token t of a head stands among rows [B, time, H, dim].
    private static long Row(AttentionArguments a, int head, int t, int time, int dim) =>
        (((long)(head / a.Heads) * time + t) * a.Heads + head % a.Heads) * dim;

    // How many keys of a tile a query sees; 0 for one past the last.
    private static int Seen(AttentionArguments a, int query, int key) =>
        query >= a.Time ? 0 : XMath.Max(0, XMath.Min(Tile, a.Keys - a.Time + query + 1 - key));
}
