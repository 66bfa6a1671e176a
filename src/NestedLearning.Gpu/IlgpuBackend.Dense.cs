using ILGPU;
using ILGPU.Runtime;
using NestedLearning.Gpu.Kernels;
using Cuda = NestedLearning.Gpu.Cuda;

namespace NestedLearning.Gpu;

internal sealed partial class IlgpuBackend
{
    private static readonly Problems s_one = new() { Batches = 1, Heads = 1, Chunks = 1, Length = int.MaxValue, Tokens = int.MaxValue };

    public override void Gemm(in GemmArguments arguments)
    {
        if (CudaGemm(arguments))
            return;
        int m = arguments.C.Shape.Rows, n = arguments.C.Shape.Last;
        Product(new ProductArguments
        {
            A = RowMajor(arguments.A, arguments.TransposeA ? m : arguments.K, arguments.TransposeA),
            B = RowMajor(arguments.B, arguments.TransposeB ? arguments.K : n, arguments.TransposeB),
            C = RowMajor(arguments.C, n),
            Residual = RowMajor(arguments.Residual, n),
            PreActivation = RowMajor(arguments.PreActivation, n),
            Bias = View(arguments.Bias),
            Problems = s_one,
            M = m,
            N = n,
            K = arguments.K,
            Epilogue = (int)arguments.Epilogue,
            Accumulate = arguments.Accumulate ? 1 : 0,
            RoundOperands = arguments.Precision == GemmPrecision.BFloat16 ? 1 : 0,
            ResidualScale = arguments.ResidualScale,
        });
    }

    public override void BatchedGemm(Tensor a, Tensor b, Tensor c, bool transposeA, bool transposeB, bool accumulate)
    {
        int m = c.Shape[^2], n = c.Shape[^1], k = a.Shape[transposeA ? ^2 : ^1];
        if (c.Count == 0 || CudaBatchedGemm(a, b, c, transposeA, transposeB, accumulate))
            return;
        Product(new ProductArguments
        {
            A = RowMajor(a, transposeA ? m : k, transposeA) with { Batch = m * k },
            B = RowMajor(b, transposeB ? k : n, transposeB) with { Batch = k * n },
            C = RowMajor(c, n) with { Batch = m * n },
            Problems = s_one with { Batches = c.Count / (m * n) },
            M = m,
            N = n,
            K = k,
            Accumulate = accumulate ? 1 : 0,
        });
    }

    public override void GemmAdamCommit(Tensor x, Tensor dy, Tensor? accumulated, Tensor w, Tensor m, Tensor v, AdamSettings settings)
    {
        if (CudaGemmAdam(x, dy, accumulated, w, m, v, settings))
            return;
        int rows = w.Shape[0], columns = w.Shape[1];
        AdamTensor adam = Adam(w, accumulated, m, v, settings);
        var product = new ProductArguments
        {
            A = RowMajor(x, rows, transpose: true),
            B = RowMajor(dy, columns),
            Problems = s_one,
            M = rows,
            N = columns,
            K = rows == 0 ? 0 : x.Count / rows,
        };
        Launch(AdamKernels.CommitProduct, Tiles(rows, columns), new ProductAdamArguments { Product = product, Adam = adam });
    }

    public override void AdamCommit(ReadOnlySpan<AdamTensors> tensors, ReadOnlySpan<AdamSettings> settings, Span<CommitChange> changes)
    {
        if (CudaAdamCommit(tensors, settings, changes))
            return;
        int groups = 0;
        foreach (AdamTensors t in tensors)
            groups += GroupsOf(t.W.Count);
        using var commit = new Commit<AdamTensor>(this, groups, changes.Length, b => Launch(AdamKernels.Commit, b.Groups, new AdamCommitArguments { Batch = b }));
        for (int i = 0; i < tensors.Length; i++)
            commit.Add(i, Adam(tensors[i].W, tensors[i].G, tensors[i].M, tensors[i].V, settings[i]), GroupsOf(tensors[i].W.Count));
        commit.Finish(changes);
    }

    public override void MomentCommit(ReadOnlySpan<MomentTensors> tensors, ReadOnlySpan<MomentSettings> settings, Span<CommitChange> changes)
    {
        int groups = 0;
        foreach (MomentTensors t in tensors)
            groups += GroupsOf(t.G.Count);
        using var commit = new Commit<MomentTensor>(this, groups, changes.Length, b => Launch(MomentKernels.Commit, b.Groups, new MomentCommitArguments { Batch = b }));
        for (int i = 0; i < tensors.Length; i++)
        {
            MomentSettings s = settings[i];
            var tensor = new MomentTensor
            {
                W = View(tensors[i].W),
                G = View(tensors[i].G),
                M = View(tensors[i].M),
                V = View(tensors[i].V),
                Start = View(tensors[i].Start),
                LearningRate = s.LearningRate,
                GradientScale = s.GradientScale,
                Keep1 = s.Keep1,
                Write1 = s.Write1,
                Keep2 = s.Keep2,
                Write2 = s.Write2,
                ReadMoment = s.ReadMoment,
                ReadGradient = s.ReadGradient,
                Decay = s.Decay,
                Epsilon = s.Epsilon,
                Clear = s.ClearGradient ? 1 : 0,
            };
            commit.Add(i, tensor, GroupsOf(tensors[i].G.Count));
        }

        commit.Finish(changes);
    }

    public override void CopyTokens(Tensor source, int sourceFirst, Tensor destination, int destinationFirst, int count, bool accumulate)
    {
        int batch = source.Shape[0];
        if (batch == 0 || count == 0)
            return;
        int width = destination.Count / (batch * destination.Shape[1]);
        LaunchItems(TokenKernels.Copy, (long)batch * count * width, new TokenArguments
        {
            Source = View(source),
            Destination = View(destination),
            Batch = batch,
            Count = count,
            Width = width,
            SourceTokens = source.Shape[1],
            SourceFirst = sourceFirst,
            DestinationTokens = destination.Shape[1],
            DestinationFirst = destinationFirst,
            Accumulate = accumulate ? 1 : 0,
        });
    }

    public override void ActivationForward(Activation activation, Tensor x, Tensor y) =>
        Elementwise(Cuda.ElementwiseKernels.ActivationForward, ElementwiseKernels.ActivationForward, x, y, function: activation);

    public override void ActivationBackward(Activation activation, Tensor x, Tensor dy, Tensor dx) =>
        Elementwise(Cuda.ElementwiseKernels.ActivationBackward, ElementwiseKernels.ActivationBackward, x, dy, dx, function: activation);

    public override void AddScaled(float factor, Tensor x, Tensor y) =>
        Elementwise(Cuda.ElementwiseKernels.AddScaled, ElementwiseKernels.AddScaled, x, y, factor: factor);

    public override void Rotate(Tensor x, Tensor table, bool back, Tensor y) =>
        LaunchItems(RotationKernels.Rotate, (long)x.Shape[0] * x.Shape[1] * x.Shape[2] * ((x.Shape[3] + 1) / 2), new RotationArguments
        {
            X = View(x), Table = View(table), Y = View(y), Time = x.Shape[1], Heads = x.Shape[2], Width = x.Shape[3], Sign = back ? -1 : 1,
        });

    public override void Multiply(Tensor x, Tensor y, Tensor z) => Elementwise(Cuda.ElementwiseKernels.Multiply, ElementwiseKernels.Multiply, x, y, z);

    public override void Scale(Tensor x, float factor) => Elementwise(Cuda.ElementwiseKernels.Scale, ElementwiseKernels.Scale, x, factor: factor);

    public override double SumOfSquares(Tensor x)
    {
        double sum = 0;
        SumsOfSquares([x], new Span<double>(ref sum));
        return sum;
    }

    public override void SumsOfSquares(ReadOnlySpan<Tensor> tensors, Span<double> sums)
    {
        sums.Clear();
        int groups = 0;
        foreach (Tensor x in tensors)
            groups += GroupsOf(x.Count);
        if (groups == 0 || CudaSumsOfSquares(tensors, sums))
            return;
        using var tally = new Tally(this, groups, tensors.Length, 1);
        int first = 0, results = 0;
        foreach (Tensor x in tensors)
        {
            int own = GroupsOf(x.Count);
            if (own == 0)
                continue;
            Launch(SumKernels.Squares, own, new SumArguments { X = View(x), Parts = tally.Parts, Ranges = tally.Ranges.SubView(2 * results++, 2), First = first });
            first += own;
        }

        double[] read = tally.Read(results);
        for (int i = 0, result = 0; i < tensors.Length; i++)
        {
            if (tensors[i].Count > 0)
                sums[i] = read[result++];
        }
    }

    /// <summary>Queues a product of each problem of its arguments.</summary>
    private void Product(ProductArguments arguments) =>
        Launch(ProductKernels.Product, Tiles(arguments.M, arguments.N) * arguments.Problems.Count, arguments);

    private static long Tiles(int m, int n) =>
        (long)((m + ProductKernels.Tile - 1) / ProductKernels.Tile) * ((n + ProductKernels.Tile - 1) / ProductKernels.Tile);

    private static Matrix RowMajor(Tensor? tensor, int columns, bool transpose = false)
    {
        Matrix matrix = new() { View = View(tensor), Row = columns, Column = 1 };
        return transpose ? matrix.Transposed() : matrix;
    }

    // Groups of a sum over so many elements: by the shape alone on a device, each with enough of them to be worth it.
    private int GroupsOf(int count) => (int)Math.Min(Math.Min(_maximalGroups, 1024), ((long)count + _threads * 16 - 1) / (_threads * 16));

    private static AdamTensor Adam(Tensor w, Tensor? g, Tensor m, Tensor v, in AdamSettings s) =>
        new() { W = View(w), G = View(g), M = View(m), V = View(v), Constants = Constants(s) };

    private static AdamConstants Constants(in AdamSettings s) => new()
    {
        Beta1 = (float)s.Beta1,
        New1 = (float)(1 - s.Beta1),
        Beta2 = (float)s.Beta2,
        New2 = (float)(1 - s.Beta2),
        Rate = (float)(s.LearningRate / (1 - Math.Pow(s.Beta1, s.Step))),
        Correction2 = (float)(1 / (1 - Math.Pow(s.Beta2, s.Step))),
        Ridge = s.Decoupled ? 0 : s.WeightDecay,
        Decay = s.Decoupled ? (float)((double)s.LearningRate * s.WeightDecay) : 0,
        Epsilon = s.Epsilon,
        GradientScale = s.GradientScale,
        Half = s.Moments == MomentPrecision.BFloat16 ? 1 : 0,
        Clear = s.ClearGradient ? 1 : 0,
        Seed = s.Seed,
        Step = (ulong)s.Step,
    };

    /// <summary>
    /// A commit of many tensors in as few launches as hold them, and one more where their changes are wanted. A tensor has
    /// the same groups among others as alone, and so the same bits.
    /// </summary>
    private sealed class Commit<T>(IlgpuBackend backend, int groups, int measured, Action<Batch<T>> launch) : IDisposable
        where T : struct, IShared
    {
        private readonly Tally? _tally = measured == 0 || groups == 0 ? null : new Tally(backend, groups, measured, 2);
        private readonly List<int> _tensors = [];
        private Batch<T> _batch;
        private int _count;

        /// <summary>Takes a tensor of so many groups; none for one without elements.</summary>
        public void Add(int index, T tensor, int groups)
        {
            if (groups == 0)
                return;
            tensor.Share = new Share { Tensor = _tensors.Count, First = _batch.Groups, Groups = groups };
            _tensors.Add(index);
            _batch.Put(_count++, tensor);
            _batch.Groups += groups;
            if (_count == Batch<T>.Capacity)
                Launch();
        }

        public void Finish(Span<CommitChange> changes)
        {
            Launch();
            changes.Clear();
            if (_tally is null)
                return;
            double[] sums = _tally.Read(_tensors.Count);
            for (int i = 0; i < _tensors.Count; i++)
                changes[_tensors[i]] = new CommitChange(sums[2 * i], sums[2 * i + 1]);
        }

        public void Dispose() => _tally?.Dispose();

        private void Launch()
        {
            if (_count == 0)
                return;
            for (int i = _count; i < Batch<T>.Capacity; i++)
                _batch.Put(i, new T { Share = new Share { First = int.MaxValue } });
            if (_tally is not null)
            {
                _batch.Parts = _tally.Parts;
                _batch.Ranges = _tally.Ranges;
            }

            launch(_batch);
            _batch = new Batch<T> { GroupsBefore = _batch.GroupsBefore + _batch.Groups };
            _count = 0;
        }
    }

    /// <summary>Sums in double that launches leave in parts and the host reads once: width numbers for each of so many results.</summary>
    private sealed class Tally : IDisposable
    {
        private readonly Workspace _workspace;
        private readonly IlgpuBackend _backend;
        private readonly DeviceStorage _parts, _ranges, _result;
        private readonly int _width;

        public Tally(IlgpuBackend backend, int parts, int results, int width)
        {
            _backend = backend;
            _width = width;
            _workspace = new Workspace(backend);
            _parts = _workspace.Take(2L * parts * width);
            _ranges = _workspace.Take(2L * results);
            _result = _workspace.Take(2L * results * width);
        }

        /// <summary>Where groups leave their sums.</summary>
        public ArrayView<double> Parts => _parts.View.Cast<double>();

        /// <summary>Where they say which of the parts belong to a result: the first, and how many.</summary>
        public ArrayView<int> Ranges => _ranges.View.Cast<int>();

        /// <summary>The first so many results.</summary>
        public double[] Read(int results)
        {
            double[] sums = new double[results * _width];
            _backend.Launch(SumKernels.Parts, results, new SumArguments { Parts = Parts, Ranges = Ranges, Result = _result.View.Cast<double>(), Count = results, Width = _width });
            _backend.Download(_result, System.Runtime.InteropServices.MemoryMarshal.AsBytes(sums.AsSpan()));
            return sums;
        }

        public void Dispose() => _workspace.Dispose();
    }
}
