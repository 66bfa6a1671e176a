using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    public override void DeepMemoryForward(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemoryOutputs outputs)
    {
        DeepMemoryArguments arguments = Arguments(inputs, settings, outputs.Saved);
        arguments.O = outputs.O.Pointer;
        arguments.W1 = outputs.W1.Pointer;
        arguments.W2 = outputs.W2.Pointer;
        arguments.P1 = PointerOrNull(outputs.P1);
        arguments.P2 = PointerOrNull(outputs.P2);
        arguments.NextChunkStart1 = PointerOrNull(outputs.ChunkStart1);
        arguments.NextChunkStart2 = PointerOrNull(outputs.ChunkStart2);
        long workspace;
        Status.ThrowIfFailed(Kernels.DeepMemoryForwardWorkspace(&arguments, &workspace));
        Work.For(inputs.Batch * inputs.Heads, ScanCost.Operations(inputs, settings) / OperationsAtOnce,
            new WorkspaceAction<DeepMemoryArguments>(arguments, workspace, &Kernels.DeepMemoryForward));
    }

    public override void DeepMemoryBackward(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemorySaved saved,
        in DeepMemoryOutputGradients upstream, in DeepMemoryGradients gradients)
    {
        DeepMemoryArguments arguments = Arguments(inputs, settings, saved);
        var gradientArguments = new DeepMemoryGradientArguments
        {
            Size = (uint)sizeof(DeepMemoryGradientArguments),
            DO = PointerOrNull(upstream.O),
            DW1 = PointerOrNull(upstream.W1),
            DW2 = PointerOrNull(upstream.W2),
            DP1 = PointerOrNull(upstream.P1),
            DP2 = PointerOrNull(upstream.P2),
            DNextChunkStart1 = PointerOrNull(upstream.ChunkStart1),
            DNextChunkStart2 = PointerOrNull(upstream.ChunkStart2),
            DQ = PointerOrNull(gradients.Q),
            DK = PointerOrNull(gradients.K),
            DV = PointerOrNull(gradients.V),
            DLogAlpha = PointerOrNull(gradients.LogAlpha),
            DTheta = PointerOrNull(gradients.Theta),
            DErase = PointerOrNull(gradients.Erase),
            DMu = PointerOrNull(gradients.Mu),
            DW1Start = PointerOrNull(gradients.W1),
            DW2Start = PointerOrNull(gradients.W2),
            DP1Start = PointerOrNull(gradients.P1),
            DP2Start = PointerOrNull(gradients.P2),
            DChunkStart1 = PointerOrNull(gradients.ChunkStart1),
            DChunkStart2 = PointerOrNull(gradients.ChunkStart2),
        };
        long workspace;
        Status.ThrowIfFailed(Kernels.DeepMemoryBackwardWorkspace(&arguments, &workspace));
        Work.For(
            inputs.Batch * inputs.Heads, 3 * ScanCost.Operations(inputs, settings) / OperationsAtOnce,
            new GradientAction<DeepMemoryArguments,
            DeepMemoryGradientArguments>(arguments, gradientArguments, workspace, &Kernels.DeepMemoryBackward));
    }

    private static DeepMemoryArguments Arguments(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemorySaved saved) => new()
    {
        Size = (uint)sizeof(DeepMemoryArguments),
        Batch = inputs.Batch,
        Time = inputs.Time,
        Heads = inputs.Heads,
        Dim = inputs.Dim,
        Hidden = inputs.Hidden,
        Chunk = settings.Chunk,
        Phase = settings.Phase,
        Objective = (int)settings.Objective,
        Read = (int)settings.Read,
        Flags = settings.Flags,
        NormEpsilon = DeepMemorySettings.NormEpsilon,
        Q = inputs.Q.Pointer,
        K = inputs.K.Pointer,
        V = inputs.V.Pointer,
        LogAlpha = PointerOrNull(inputs.LogAlpha),
        Theta = PointerOrNull(inputs.Theta),
        Erase = PointerOrNull(inputs.Erase),
        Mu = PointerOrNull(inputs.Mu),
        W1Start = inputs.W1.Pointer,
        W2Start = inputs.W2.Pointer,
        P1Start = PointerOrNull(inputs.P1),
        P2Start = PointerOrNull(inputs.P2),
        ChunkStart1 = PointerOrNull(inputs.ChunkStart1),
        ChunkStart2 = PointerOrNull(inputs.ChunkStart2),
        SavedW1 = PointerOrNull(saved.W1),
        SavedW2 = PointerOrNull(saved.W2),
        SavedP1 = PointerOrNull(saved.P1),
        SavedP2 = PointerOrNull(saved.P2),
    };
}
