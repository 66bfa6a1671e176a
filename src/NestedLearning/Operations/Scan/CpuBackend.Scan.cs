using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    // Scalar operations that a vectorised kernel does in about the time of one.
    private const int OperationsAtOnce = 8;

    public override void ScanForward(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs)
    {
        ScanArguments arguments = Arguments(inputs, settings, outputs.Saved);
        arguments.O = outputs.O.Pointer;
        arguments.S = outputs.S.Pointer;
        arguments.P = PointerOrNull(outputs.P);
        arguments.NextChunkStart = PointerOrNull(outputs.ChunkStart);
        long pieces, workspace;
        Status.ThrowIfFailed(Kernels.ScanForwardPieces(&arguments, &pieces));
        Status.ThrowIfFailed(Kernels.ScanForwardWorkspace(&arguments, &workspace));
        long operations = ScanCost.Operations(inputs, settings) / OperationsAtOnce;
        if (Work.StaysOnCaller(checked((int)pieces), operations))
            Status.ThrowIfFailed(Kernels.ScanForward(&arguments, 0, pieces, Scratch.Take((nint)workspace)));
        else
            Work.For((int)pieces, operations, new WorkspaceAction<ScanArguments>(arguments, workspace, &Kernels.ScanForward));
    }

    public override void ScanBackward(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, in ScanOutputGradients upstream,
        in ScanGradients gradients)
    {
        ScanArguments arguments = Arguments(inputs, settings, saved);
        var gradientArguments = new ScanGradientArguments
        {
            Size = (uint)sizeof(ScanGradientArguments),
            DO = PointerOrNull(upstream.O),
            DS = PointerOrNull(upstream.S),
            DP = PointerOrNull(upstream.P),
            DQ = PointerOrNull(gradients.Q),
            DK = PointerOrNull(gradients.K),
            DU = PointerOrNull(gradients.U),
            DLogAlpha = PointerOrNull(gradients.LogAlpha),
            DErase = PointerOrNull(gradients.Erase),
            DMu = PointerOrNull(gradients.Mu),
            DTheta = PointerOrNull(gradients.Theta),
            DS0 = PointerOrNull(gradients.S0),
            DP0 = PointerOrNull(gradients.P0),
            DNextChunkStart = PointerOrNull(upstream.ChunkStart),
            DChunkStart = PointerOrNull(gradients.ChunkStart),
        };
        long workspace;
        Status.ThrowIfFailed(Kernels.ScanBackwardWorkspace(&arguments, &workspace));
        Work.For(
            inputs.Batch * inputs.Heads, 3 * ScanCost.Operations(inputs, settings) / OperationsAtOnce,
            new GradientAction<ScanArguments, ScanGradientArguments>(arguments, gradientArguments, workspace, &Kernels.ScanBackward));
    }

    private static ScanArguments Arguments(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved) => new()
    {
        Size = (uint)sizeof(ScanArguments),
        Batch = inputs.Batch,
        Time = inputs.Time,
        Heads = inputs.Heads,
        KeyDim = inputs.KeyDim,
        ValueDim = inputs.ValueDim,
        Chunk = settings.Chunk,
        Read = (int)settings.Read,
        Write = (int)settings.Write,
        Scale = settings.Scale,
        Q = inputs.Q.Pointer,
        K = inputs.K.Pointer,
        U = inputs.U.Pointer,
        LogAlpha = PointerOrNull(inputs.LogAlpha),
        Erase = PointerOrNull(inputs.Erase),
        Mu = PointerOrNull(inputs.Mu),
        Theta = PointerOrNull(inputs.Theta),
        S0 = PointerOrNull(inputs.S0),
        P0 = PointerOrNull(inputs.P0),
        States = PointerOrNull(saved.States),
        Momenta = PointerOrNull(saved.Momenta),
        ChunkStart = PointerOrNull(inputs.ChunkStart),
        Phase = settings.Phase,
    };
}
