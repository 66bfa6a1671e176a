using ILGPU;
using ILGPU.Runtime;
using NestedLearning.Gpu.Kernels;
using Cuda = NestedLearning.Gpu.Cuda;

namespace NestedLearning.Gpu;

internal sealed unsafe partial class IlgpuBackend
{
    public override void ColumnSum(Tensor x, Tensor sums)
    {
        int rows = x.Shape.Rows, width = x.Shape.Last, blocks = Blocks(rows);
        using var workspace = new Workspace(this);
        var arguments = new ColumnSumArguments
        {
            X = View(x), Target = View(sums), Parts = Doubles(workspace, (long)blocks * width), Rows = rows, Width = width, Blocks = blocks, Sums = 1, TargetStride = 1,
        };
        LaunchItems(ColumnSumKernels.Blocks, (long)blocks * width, arguments);
        LaunchItems(ColumnSumKernels.Total, width, arguments);
    }

    public override void NormForward(NormKind kind, Tensor x, Tensor? gain, Tensor? bias, float epsilon, Tensor y) =>
        Launch(NormKernels.Forward, x.Shape.Rows, new NormArguments
        {
            X = View(x), Gain = View(gain), Bias = View(bias), Y = View(y), Kind = (int)kind, Epsilon = epsilon, Rows = x.Shape.Rows, Width = x.Shape.Last,
        });

    public override void NormBackward(NormKind kind, Tensor x, Tensor? gain, float epsilon, Tensor dy, Tensor? dx, Tensor? dGain, Tensor? dBias)
    {
        int rows = x.Shape.Rows, width = x.Shape.Last, blocks = Blocks(rows);
        using var workspace = new Workspace(this);
        var arguments = new NormArguments
        {
            X = View(x), Gain = View(gain), DY = View(dy), DX = View(dx), Kind = (int)kind, Epsilon = epsilon, Rows = rows, Width = width, Blocks = blocks,
            Statistics = workspace.Take(3L * rows).View,
        };
        Launch(NormKernels.Backward, rows, arguments);
        if (dGain is null && dBias is null)
            return;
        arguments.Parts = Doubles(workspace, 2L * blocks * width);
        LaunchItems(NormKernels.GainBlocks, (long)blocks * width, arguments);
        var total = new ColumnSumArguments { Parts = arguments.Parts, Width = width, Blocks = blocks, Sums = 2, TargetStride = 1 };
        if (dBias is not null)
            LaunchItems(ColumnSumKernels.Total, width, total with { Target = View(dBias) });
        if (dGain is not null)
            LaunchItems(ColumnSumKernels.Total, width, total with { Target = View(dGain), Sum = 1 });
    }

    public override void CausalConvolutionForward(Tensor x, Tensor weight, Tensor? bias, Tensor? state, Tensor y, Tensor? nextState)
    {
        ConvolutionArguments arguments = Convolution(x, weight, state) with { Bias = View(bias), Y = View(y), NextState = View(nextState) };
        LaunchItems(ConvolutionKernels.Forward, x.Count, arguments);
        if (nextState is not null)
            LaunchItems(ConvolutionKernels.Carry, (long)arguments.Batch * arguments.Width, arguments);
    }

    public override void CausalConvolutionBackward(Tensor x, Tensor weight, Tensor? state, Tensor dy, Tensor? dx, Tensor? dWeight, Tensor? dBias)
    {
        ConvolutionArguments arguments = Convolution(x, weight, state) with { DY = View(dy), DX = View(dx) };
        if (dx is not null)
            LaunchItems(ConvolutionKernels.Backward, x.Count, arguments);
        if (dWeight is null && dBias is null)
            return;
        using var workspace = new Workspace(this);
        arguments.Blocks = Blocks(arguments.Batch * arguments.Time);
        arguments.Parts = Doubles(workspace, (long)arguments.Blocks * (ConvolutionKernels.Taps + 1) * arguments.Width);
        LaunchItems(ConvolutionKernels.WeightBlocks, (long)arguments.Blocks * arguments.Width, arguments);
        var total = new ColumnSumArguments { Parts = arguments.Parts, Width = arguments.Width, Blocks = arguments.Blocks, Sums = ConvolutionKernels.Taps + 1 };
        for (int tap = 0; tap < ConvolutionKernels.Taps && dWeight is not null; tap++)
            LaunchItems(ColumnSumKernels.Total, arguments.Width, total with { Target = View(dWeight), Sum = tap, TargetStart = tap, TargetStride = ConvolutionKernels.Taps });
        if (dBias is not null)
            LaunchItems(ColumnSumKernels.Total, arguments.Width, total with { Target = View(dBias), Sum = ConvolutionKernels.Taps, TargetStride = 1 });
    }

    public override void EmbeddingForward(IndexTensor tokens, Tensor table, Tensor y) =>
        LaunchItems(EmbeddingKernels.Forward, y.Count, new EmbeddingArguments { Tokens = View(tokens), Table = View(table), Rows = View(y), Count = tokens.Count, Width = table.Shape.Last });

    public override void EmbeddingBackward(IndexTensor tokens, Tensor dy, Tensor dTable)
    {
        using var workspace = new Workspace(this);
        DeviceStorage links = workspace.Take(2L * tokens.Count);
        Elementwise(ElementwiseKernels.Fill, new() { X = links.View });
        var arguments = new EmbeddingArguments
        {
            Tokens = View(tokens), Links = links.View.Cast<int>(), Table = View(dTable), Rows = View(dy), Count = tokens.Count, Width = dTable.Shape.Last,
        };
        LaunchItems(EmbeddingKernels.Link, tokens.Count, arguments);
        Launch(EmbeddingKernels.Backward, tokens.Count, arguments);
    }

    public override void CrossEntropyForward(Tensor logits, IndexTensor targets, Tensor losses, Tensor logSums)
    {
        if (!CudaCrossEntropy(Cuda.CrossEntropyKernels.Forward, logits, targets, new() { Losses = Pointer(losses), LogSums = Pointer(logSums) }))
            Launch(CrossEntropyKernels.Forward, targets.Count, CrossEntropy(logits, targets) with { Losses = View(losses), LogSums = View(logSums) });
    }

    public override void CrossEntropyBackward(Tensor logits, IndexTensor targets, Tensor logSums, Tensor dLosses, Tensor dLogits)
    {
        if (!CudaCrossEntropy(Cuda.CrossEntropyKernels.Backward, logits, targets, new() { LogSums = Pointer(logSums), DLosses = Pointer(dLosses), DLogits = Pointer(dLogits) }))
            LaunchItems(CrossEntropyKernels.Backward, logits.Count, CrossEntropy(logits, targets) with { LogSums = View(logSums), DLosses = View(dLosses), DLogits = View(dLogits) });
    }

    public override void CrossEntropyWithGradient(Tensor logits, IndexTensor targets, float gradientScale, Tensor losses, Tensor dLogits)
    {
        if (!CudaCrossEntropy(Cuda.CrossEntropyKernels.WithGradient, logits, targets, new() { GradientScale = gradientScale, Losses = Pointer(losses), DLogits = Pointer(dLogits) }))
            Launch(CrossEntropyKernels.WithGradient, targets.Count, CrossEntropy(logits, targets) with { GradientScale = gradientScale, Losses = View(losses), DLogits = View(dLogits) });
    }

    public override void AttentionForward(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs) =>
        Launch(AttentionKernels.Forward, AttentionBlocks(inputs, inputs.Time), AttentionOf(inputs, settings) with { O = View(outputs.O), LogSums = View(outputs.LogSums) });

    public override void AttentionBackward(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs, Tensor dOutput, in AttentionGradients gradients)
    {
        if (inputs.Time == 0)
        {
            // Keys that no query sees.
            Elementwise(ElementwiseKernels.Fill, new() { X = View(gradients.K) });
            Elementwise(ElementwiseKernels.Fill, new() { X = View(gradients.V) });
            return;
        }

        using var workspace = new Workspace(this);
        AttentionArguments arguments = AttentionOf(inputs, settings) with
        {
            O = View(outputs.O),
            LogSums = View(outputs.LogSums),
            DO = View(dOutput),
            DQ = View(gradients.Q),
            DK = View(gradients.K),
            DV = View(gradients.V),
            Deltas = workspace.Take((long)inputs.Batch * inputs.Time * inputs.Heads).View,
        };
        LaunchItems(AttentionKernels.Deltas, arguments.Deltas.Length, arguments);
        if (gradients.Q is not null)
            Launch(AttentionKernels.BackwardQueries, AttentionBlocks(inputs, inputs.Time), arguments);
        if (gradients.K is not null || gradients.V is not null)
            Launch(AttentionKernels.BackwardKeys, AttentionBlocks(inputs, inputs.Keys), arguments);
    }

    private static int Blocks(int rows) => (rows + ColumnSumKernels.Block - 1) / ColumnSumKernels.Block;

    private static ArrayView<double> Doubles(Workspace workspace, long count) => workspace.Take(2 * count).View.Cast<double>();

    private static ConvolutionArguments Convolution(Tensor x, Tensor weight, Tensor? state) => new()
    {
        X = View(x), Weight = View(weight), State = View(state), Batch = x.Shape[0], Time = x.Shape[1], Width = x.Shape[2],
    };

    private static CrossEntropyArguments CrossEntropy(Tensor logits, IndexTensor targets) => new()
    {
        Logits = View(logits), Targets = View(targets), Count = targets.Count, Classes = logits.Shape.Last,
    };

    private static AttentionArguments AttentionOf(in AttentionInputs inputs, AttentionSettings settings) => new()
    {
        Q = View(inputs.Q), K = View(inputs.K), V = View(inputs.V), Batch = inputs.Batch, Time = inputs.Time, Keys = inputs.Keys,
        Heads = inputs.Heads, KeyDim = inputs.KeyDim, ValueDim = inputs.ValueDim, Scale = settings.Scale,
    };

    private static long AttentionBlocks(in AttentionInputs inputs, int rows) =>
        (long)((rows + AttentionKernels.Tile - 1) / AttentionKernels.Tile) * inputs.Batch * inputs.Heads;
}
