using ILGPU;
using ILGPU.Algorithms;

namespace NestedLearning.Gpu.Kernels;

/// <summary>A few tokens of a scan in token form. Matrices are a head's: rows of tokens, gates over tokens, states.</summary>
internal struct ScanDecodeArguments
{
    public Problems Problems;

    /// <summary>Rows of tokens, of which O is written.</summary>
    public Matrix Q, K, U, O;

    /// <summary>Gates; those that are not given have the values of <see cref="ScanInputs"/>.</summary>
    public Matrix LogAlpha, Erase, Mu, Theta;

    /// <summary>
    /// States before and behind the tokens; those before that are not given are 0. The last may be in the place of the first.
    /// </summary>
    public Matrix S0, P0, S, P;

    /// <summary>S_c of the first token, not given where it is S0; and where S_c of the next token goes. It may be the same.</summary>
    public Matrix ChunkStart, NextChunkStart;

    public int Tokens, KeyDim, ValueDim;

    /// <summary>The chunk of the first token has had Phase tokens; the next token's has NextPhase.</summary>
    public int Chunk, Phase, NextPhase;

    /// <summary>
    /// Columns of a tile, a power of two that divides the threads of a group, and rows of it that are held in shared memory.
    /// </summary>
    public int Columns, Held;

    public int Momentum, Erases, Frozen, ReadsAfter, ReadsAtStart;
    public float Scale;
}

/// <summary>A few tokens of one chunk of self-modifying memories; of the scan's arguments those that have a meaning here.</summary>
internal struct SelfModifyingDecodeArguments
{
    public ScanDecodeArguments Scan;

    /// <summary>Inputs [n, D], and what the memories at the chunk's start make of them, [n, 2D + 2]: x S_k, x S_v, x S_η, x S_α.</summary>
    public Matrix X, Projections;

    public int Dim;
    public SelfModifyingRule Rule;
}

/// <summary>
/// A thread's part of a state: rows <see cref="Part"/>, Part + <see cref="Parts"/>, .. of one column. No other thread sees
/// them, so no barrier is needed. The first <see cref="Held"/> rows of the tile are in shared memory, the others where the
/// state itself is.
/// </summary>
internal struct DecodeTile
{
    public ArrayView<float> Shared, Memory;
    public long Start;
    public int Row, SharedStart, Held, Columns, Part, Parts, Rows;

    public readonly float At(int row) => row < Held ? Shared[SharedStart + row * Columns] : Memory[Start + (long)row * Row];

    public readonly void Set(int row, float value)
    {
        if (row < Held)
            Shared[SharedStart + row * Columns] = value;
        else
            Memory[Start + (long)row * Row] = value;
    }

    /// <summary>This thread's part of a row vector's product with the column.</summary>
    public readonly float Product(ArrayView<float> vector, long at)
    {
        float sum = 0;
        for (int row = Part; row < Rows; row += Parts)
            sum += vector[at + row] * At(row);
        return sum;
    }
}

/// <summary>
/// One launch for a few tokens, where the chunk-parallel form takes some ten. A group has a tile of columns of a head's state,
/// which do not depend on each other given keys and gates: it reads the tile once, goes through the tokens, and writes it
/// once. That is what it costs: 8 · Dk · Dv bytes a head and as many again with momentum or for a chunk's start that is
/// another, whatever the number of tokens; rows that shared memory has no room for are passed once more by each token, out
/// of the cache. Tiles are narrow, so that few heads still make many groups.
/// </summary>
internal static class DecodeKernels
{
    /// <summary>The most tokens.</summary>
    public const int Tokens = 8;

    /// <summary>The most columns of a tile: 64 bytes of a row of the state.</summary>
    public const int Columns = 16;

    /// <summary>Elements of the tile's states in shared memory.</summary>
    public const int Held = 4096;

    // w_t = θ_t u_t − ε_t k_t S_{t−1} − [L2] θ_t k_t S_c    P_t = μ_t P_{t−1} + k_tᵀ w_t    S_t = α_t S_{t−1} + P_t
    // o_t = scale · q_t S_t, S_{t−1} or S_c
    // Sums over rows are of a part for each thread, kept for each token, so that there is one barrier a token.
    public static void Scan(ScanDecodeArguments a)
    {
        ArrayView<float> held = SharedMemory.Allocate<float>(Held);
        ArrayView<float> keySums = SharedMemory.Allocate<float>(Tokens * Groups.Threads),
            startSums = SharedMemory.Allocate<float>(Tokens * Groups.Threads);
        ArrayView<float> querySums = SharedMemory.Allocate<float>(Tokens * Groups.Threads);
        int tiles = (a.ValueDim + a.Columns - 1) / a.Columns;
        for (long work = Grid.IdxX; work < (long)tiles * a.Problems.Count; work += Grid.DimX)
        {
            Problem problem = a.Problems.At((int)(work / tiles));
            int first = (int)(work % tiles) * a.Columns, column = first + Group.IdxX % a.Columns;
            DecodeTile s = Tile(a, a.S, problem, column, held, 0), p = Tile(a, a.P, problem, column, held, a.Held * a.Columns);
            DecodeTile began = Tile(a, a.ChunkStart, problem, column, held, 0);
            began.Held = 0;
            long q = a.Q.Offset(problem), k = a.K.Offset(problem);
            Load(s, a.S0, problem, column);
            if (a.Momentum != 0)
                Load(p, a.P0, problem, column);
            Group.Barrier();
            for (int t = 0; t < a.Tokens; t++)
            {
                int phase = (a.Phase + t) % a.Chunk, mine = t * Groups.Threads + Group.IdxX;
                if (t == 0 || phase == 0)
                {
                    DecodeTile start = s;
                    if (t == 0 && a.Phase > 0)
                        start = began;
                    int end = XMath.Min(a.Tokens, t + a.Chunk - phase);
                    for (int i = t; i < end; i++)
                    {
                        startSums[i * Groups.Threads + Group.IdxX] = a.Frozen != 0 ? start.Product(a.K.View, k + (long)i * a.K.Row) : 0;
                        if (a.ReadsAtStart != 0)
                            querySums[i * Groups.Threads + Group.IdxX] = start.Product(a.Q.View, q + (long)i * a.Q.Row);
                    }

                    if (end == a.Tokens && a.NextPhase != 0)
                        Store(start, a.NextChunkStart, problem, column);
                }

                keySums[mine] = a.Erases != 0 ? s.Product(a.K.View, k + (long)t * a.K.Row) : 0;
                if (a.ReadsAfter == 0 && a.ReadsAtStart == 0)
                    querySums[mine] = s.Product(a.Q.View, q + (long)t * a.Q.Row);
                Group.Barrier();
                if (column < a.ValueDim)
                {
                    float theta = Gate(a.Theta, problem, t, 1), w = theta * ChunkKernels.At(a.U, problem, t, column);
                    w -= Gate(a.Erase, problem, t, 0) * Sum(keySums, a.Columns, t, Group.IdxX) + theta
                        * Sum(startSums, a.Columns, t, Group.IdxX);
                    float alpha = a.LogAlpha.Given ? Functions.Exp(ChunkKernels.At(a.LogAlpha, problem, t)) : 1;
                    float read = Write(a, s, p, a.K.View, k + (long)t * a.K.Row, w, alpha, Gate(a.Mu, problem, t, 0),
                        q + (long)t * a.Q.Row);
                    if (a.ReadsAfter != 0)
                        querySums[mine] = read;
                }
            }

            Group.Barrier();
            for (int i = Group.IdxX; i < a.Tokens * a.Columns; i += Group.DimX)
            {
                int t = i / a.Columns, at = i % a.Columns;
                if (first + at < a.ValueDim)
                    ChunkKernels.At(a.O, problem, t, first + at) = Functions.Flush(a.Scale * Sum(querySums, a.Columns, t, at));
            }

            Store(s, a.S, problem, column);
            if (a.Momentum != 0)
                Store(p, a.P, problem, column);
            if (a.NextPhase == 0)
                Store(s, a.NextChunkStart, problem, column);
        }
    }

    // [x S_k | x S_v | x S_η | x S_α] of S_c: every group of the next launch wants all of k and v.
    public static void Project(SelfModifyingDecodeArguments a)
    {
        ArrayView<float> sums = SharedMemory.Allocate<float>(Tokens * Groups.Threads);
        int wanted = 2 * a.Dim + 2, tiles = (wanted + a.Scan.Columns - 1) / a.Scan.Columns;
        for (long work = Grid.IdxX; work < (long)tiles * a.Scan.Problems.Count; work += Grid.DimX)
        {
            Problem problem = a.Scan.Problems.At((int)(work / tiles));
            int first = (int)(work % tiles) * a.Scan.Columns, place = first + Group.IdxX % a.Scan.Columns;
            Matrix frozen = a.Scan.ChunkStart.Given ? a.Scan.ChunkStart : a.Scan.S0;
            DecodeTile start = Tile(a.Scan, frozen, problem, place < 2 * a.Dim ? place : place + a.Dim, sums, 0);
            start.Held = 0;
            long x = a.X.Offset(problem);
            Group.Barrier();
            for (int t = 0; t < a.Scan.Tokens; t++)
                sums[t * Groups.Threads + Group.IdxX] = start.Product(a.X.View, x + (long)t * a.X.Row);
            Group.Barrier();
            for (int i = Group.IdxX; i < a.Scan.Tokens * a.Scan.Columns; i += Group.DimX)
            {
                int t = i / a.Scan.Columns, at = i % a.Scan.Columns;
                if (first + at < wanted)
                    ChunkKernels.At(a.Projections, problem, t, first + at) = Sum(sums, a.Scan.Columns, t, at);
            }
        }
    }

    // The scan over all memories side by side with k and v from the projections, θ = η, ε = η or 2η, and u = v S_c. Vectors are
    // as projected: what makes their length 1 multiplies sums.
    public static void SelfModifying(SelfModifyingDecodeArguments a)
    {
        ArrayView<float> held = SharedMemory.Allocate<float>(Held), shared = SharedMemory.Allocate<float>(Groups.Threads);
        ArrayView<float> keySums = SharedMemory.Allocate<float>(Tokens * Groups.Threads),
            startSums = SharedMemory.Allocate<float>(Tokens * Groups.Threads);
        ArrayView<float> targetSums = SharedMemory.Allocate<float>(Tokens * Groups.Threads),
            querySums = SharedMemory.Allocate<float>(Tokens * Groups.Threads);
        int tiles = (a.Scan.ValueDim + a.Scan.Columns - 1) / a.Scan.Columns;
        for (long work = Grid.IdxX; work < (long)tiles * a.Scan.Problems.Count; work += Grid.DimX)
        {
            Problem problem = a.Scan.Problems.At((int)(work / tiles));
            int first = (int)(work % tiles) * a.Scan.Columns, column = first + Group.IdxX % a.Scan.Columns;
            DecodeTile s = Tile(a.Scan, a.Scan.S, problem, column, held, 0), start = s;
            Load(s, a.Scan.S0, problem, column);
            if (a.Scan.ChunkStart.Given)
            {
                start = Tile(a.Scan, a.Scan.ChunkStart, problem, column, held, 0);
                start.Held = 0;
            }

            // Columns of mem are read, from the first of them on.
            bool reads = column >= 2 * a.Dim && column < 3 * a.Dim;
            long q = a.Scan.Q.Offset(problem), projections = a.Projections.Offset(problem);
            Group.Barrier();
            for (int t = 0; t < a.Scan.Tokens; t++)
            {
                int mine = t * Groups.Threads + Group.IdxX;
                long k = projections + (long)t * a.Projections.Row;
                targetSums[mine] = start.Product(a.Projections.View, k + a.Dim);
                startSums[mine] = a.Scan.Frozen != 0 ? start.Product(a.Projections.View, k) : 0;
                if (a.Scan.ReadsAtStart != 0)
                    querySums[mine] = reads ? start.Product(a.Scan.Q.View, q + (long)t * a.Scan.Q.Row) : 0;
            }

            if (a.Scan.NextPhase != 0)
                Store(start, a.Scan.NextChunkStart, problem, column);
            for (int t = 0; t < a.Scan.Tokens; t++)
            {
                int mine = t * Groups.Threads + Group.IdxX;
                long k = projections + (long)t * a.Projections.Row;
                float key = InverseNorm(a, shared, k), value = a.Rule.ValueFactor(InverseNorm(a, shared, k + a.Dim));
                keySums[mine] = s.Product(a.Projections.View, k);
                if (a.Scan.ReadsAfter == 0 && a.Scan.ReadsAtStart == 0)
                    querySums[mine] = reads ? s.Product(a.Scan.Q.View, q + (long)t * a.Scan.Q.Row) : 0;
                Group.Barrier();
                if (column < a.Scan.ValueDim)
                {
                    float eta = Functions.Softplus(a.Projections.View[k + 2 * a.Dim] + a.Rule.EtaBias) * a.Rule.EtaScale;
                    float alpha = Functions.Sigmoid(a.Projections.View[k + 2 * a.Dim + 1] + a.Rule.AlphaBias);
                    float w = value * Sum(targetSums, a.Scan.Columns, t, Group.IdxX) - key * Sum(startSums, a.Scan.Columns, t, Group.IdxX);
                    w = eta * (w - a.Rule.EraseFactor * (key * Sum(keySums, a.Scan.Columns, t, Group.IdxX)));
                    float read = Write(a.Scan, s, s, a.Projections.View, k, key * w, alpha, 0, q + (long)t * a.Scan.Q.Row);
                    if (a.Scan.ReadsAfter != 0)
                        querySums[mine] = read;
                }
            }

            Group.Barrier();
            for (int i = Group.IdxX; i < a.Scan.Tokens * a.Scan.Columns; i += Group.DimX)
            {
                int t = i / a.Scan.Columns, at = i % a.Scan.Columns, read = first + at - 2 * a.Dim;
                if (read >= 0 && read < a.Dim)
                    ChunkKernels.At(a.Scan.O, problem, t, read) = Functions.Flush(Sum(querySums, a.Scan.Columns, t, at));
            }

            Store(s, a.Scan.S, problem, column);
            if (a.Scan.NextPhase == 0)
                Store(s, a.Scan.NextChunkStart, problem, column);
        }
    }

    private static DecodeTile Tile(ScanDecodeArguments a, Matrix state, Problem problem, int column, ArrayView<float> held,
        int heldStart) => new()
        {
            Shared = held,
            Memory = state.View,
            Start = state.Offset(problem) + column,
            Row = state.Row,
            SharedStart = heldStart + Group.IdxX % a.Columns,
            Held = a.Held,
            Columns = a.Columns,
            Part = Group.IdxX / a.Columns,
            Parts = Group.DimX / a.Columns,
            Rows = column < a.ValueDim ? a.KeyDim : 0,
        };

    private static void Load(DecodeTile tile, Matrix from, Problem problem, int column)
    {
        long start = from.Offset(problem) + column;
        for (int row = tile.Part; row < tile.Rows; row += tile.Parts)
            tile.Set(row, from.Given ? from.View[start + (long)row * from.Row] : 0);
    }

    private static void Store(DecodeTile tile, Matrix to, Problem problem, int column)
    {
        long start = to.Offset(problem) + column;
        for (int row = tile.Part; row < tile.Rows && to.Given; row += tile.Parts)
            to.View[start + (long)row * to.Row] = tile.At(row);
    }

    // S ← α S + P, P ← μ P + kᵀ w; gives this thread's part of q S, where reads are after.
    private static float Write(
        ScanDecodeArguments a, DecodeTile s, DecodeTile p, ArrayView<float> keys, long k, float w, float alpha, float mu, long q)
    {
        float read = 0;
        for (int row = s.Part; row < s.Rows; row += s.Parts)
        {
            float written = keys[k + row] * w;
            if (a.Momentum != 0)
            {
                written = Functions.Flush(p.At(row) * mu + written);
                p.Set(row, written);
            }

            float value = Functions.Flush(s.At(row) * alpha + written);
            s.Set(row, value);
            if (a.ReadsAfter != 0)
                read += a.Q.View[q + row] * value;
        }

        return read;
    }

    private static float Gate(Matrix gate, Problem problem, int t, float absent) => gate.Given ? ChunkKernels.At(gate, problem, t) : absent;

    // Of all parts of a column, in their order.
    private static float Sum(ArrayView<float> parts, int columns, int token, int thread)
    {
        float sum = 0;
        for (int i = thread % columns; i < Group.DimX; i += columns)
            sum += parts[token * Groups.Threads + i];
        return sum;
    }

    private static float InverseNorm(SelfModifyingDecodeArguments a, ArrayView<float> shared, long start)
    {
        float sum = 0;
        for (int d = Group.IdxX; d < a.Dim; d += Group.DimX)
            sum += a.Projections.View[start + d] * a.Projections.View[start + d];
        return 1 / XMath.Sqrt(Groups.Sum(shared, sum) + SelfModifyingSettings.NormEpsilon * SelfModifyingSettings.NormEpsilon);
    }
}
