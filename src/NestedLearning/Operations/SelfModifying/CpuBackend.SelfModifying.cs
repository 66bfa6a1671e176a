using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    public override void SelfModifyingForward(in SelfModifyingInputs inputs, SelfModifyingSettings settings,
        in SelfModifyingOutputs outputs)
    {
        SelfModifyingArguments arguments = Arguments(inputs, settings);
        arguments.O = outputs.O.Pointer;
        arguments.S = outputs.S.Pointer;
        arguments.NextChunkStart = PointerOrNull(outputs.ChunkStart);
        arguments.States = PointerOrNull(outputs.ChunkStates);
        long workspace;
        Status.ThrowIfFailed(Kernels.SelfModifyingForwardWorkspace(&arguments, &workspace));
        Work.For(inputs.Batch * inputs.Heads, ScanCost.Operations(inputs, settings) / OperationsAtOnce,
            new WorkspaceAction<SelfModifyingArguments>(arguments, workspace, &Kernels.SelfModifyingForward));
    }

    public override void SelfModifyingBackward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, Tensor chunkStates,
        in SelfModifyingOutputGradients upstream, in SelfModifyingGradients gradients)
    {
        SelfModifyingArguments arguments = Arguments(inputs, settings);
        arguments.States = chunkStates.Pointer;
        var gradientArguments = new SelfModifyingGradientArguments
        {
            Size = (uint)sizeof(SelfModifyingGradientArguments),
            DO = upstream.O.Pointer,
            DS = PointerOrNull(upstream.S),
            DX = PointerOrNull(gradients.X),
            DQ = PointerOrNull(gradients.Q),
            DS0 = PointerOrNull(gradients.S0),
            DNextChunkStart = PointerOrNull(upstream.ChunkStart),
            DChunkStart = PointerOrNull(gradients.ChunkStart),
        };
        long workspace;
        Status.ThrowIfFailed(Kernels.SelfModifyingBackwardWorkspace(&arguments, &workspace));
        Work.For(
            inputs.Batch * inputs.Heads, 3 * ScanCost.Operations(inputs, settings) / OperationsAtOnce,
            new GradientAction<SelfModifyingArguments,
            SelfModifyingGradientArguments>(arguments, gradientArguments, workspace, &Kernels.SelfModifyingBackward));
    }

    private static SelfModifyingArguments Arguments(in SelfModifyingInputs inputs, SelfModifyingSettings settings) => new()
    {
        Size = (uint)sizeof(SelfModifyingArguments),
        Batch = inputs.Batch,
        Time = inputs.Time,
        Heads = inputs.Heads,
        Dim = inputs.Dim,
        Chunk = settings.Chunk,
        Objective = (int)settings.Objective,
        Read = (int)settings.Read,
        EtaScale = settings.EtaScale,
        EtaBias = settings.EtaBias,
        AlphaBias = settings.AlphaBias,
        NormEpsilon = SelfModifyingSettings.NormEpsilon,
        X = inputs.X.Pointer,
        Q = inputs.Q.Pointer,
        S0 = inputs.S0.Pointer,
        ChunkStart = PointerOrNull(inputs.ChunkStart),
        Phase = settings.Phase,
        Flags = settings.Flags,
    };
}
