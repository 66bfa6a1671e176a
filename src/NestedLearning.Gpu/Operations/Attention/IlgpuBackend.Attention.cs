using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    public override void AttentionForward(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs) =>
        Launch(AttentionKernels.Forward, AttentionBlocks(inputs, inputs.Time), AttentionOf(inputs, settings) with
        {
            O = View(outputs.O),
            LogSums = View(outputs.LogSums),
        });

    public override void AttentionBackward(
        in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs, Tensor dOutput, in AttentionGradients gradients)
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

    private static AttentionArguments AttentionOf(in AttentionInputs inputs, AttentionSettings settings) => new()
    {
        Q = View(inputs.Q), K = View(inputs.K), V = View(inputs.V), Batch = inputs.Batch, Time = inputs.Time, Keys = inputs.Keys,
        Heads = inputs.Heads, KeyDim = inputs.KeyDim, ValueDim = inputs.ValueDim, Scale = settings.Scale,
    };

    private static long AttentionBlocks(in AttentionInputs inputs, int rows) =>
        (long)((rows + AttentionKernels.Tile - 1) / AttentionKernels.Tile) * inputs.Batch * inputs.Heads;
}
