using System.Diagnostics.CodeAnalysis;

namespace NestedLearning.Gpu.Cuda;

// The scan in hand-written CUDA.
internal sealed unsafe partial class CudaBackend
{
    public override void ScanForward(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs)
    {
        bool isDecoded = IsDecoded(inputs.Time, outputs.Saved.States);
        if (!(isDecoded ? CanDecode(inputs, out string? reason) : CanRun(inputs, settings, out reason)))
        {
            FallBack(reason);
            base.ScanForward(inputs, settings, outputs);
            return;
        }

        ScanArguments arguments = Arguments(inputs, settings, settings.Chunk) with
        {
            O = Pointer(outputs.O),
            S = Pointer(outputs.S),
            P = Pointer(outputs.P),
            States = Pointer(outputs.Saved.States),
            Momenta = Pointer(outputs.Saved.Momenta),
            NextStart = Pointer(outputs.ChunkStart),
        };
        if (isDecoded)
            Launch(ScanKernels.Decode, StateBlocks(inputs, ScanKernels.DecodeColumns), ScanKernels.DecodeThreads, 0, arguments);
        else
            LaunchScanForward(arguments);
    }

    public override void ScanBackward(
        in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, in ScanOutputGradients upstream, in ScanGradients gradients)
    {
        if (!CanRunBackward(inputs, settings, out string? reason))
        {
            FallBack(reason);
            base.ScanBackward(inputs, settings, saved, upstream, gradients);
            return;
        }

        using var workspace = new Workspace(this);
        int chunk = BackwardChunk(settings);
        ScanArguments arguments = Arguments(inputs, settings, chunk);
        bool momentum = inputs.Mu is not null;
        long state = (long)inputs.KeyDim * inputs.ValueDim * inputs.Batch * inputs.Heads, states = state * arguments.Chunks;
        if (chunk == settings.Chunk)
        {
            arguments.States = Pointer(saved.States);
            arguments.Momenta = Pointer(saved.Momenta);
        }
        else
        {
            arguments.States = Take(workspace, states);
            arguments.Momenta = momentum ? Take(workspace, states) : null;
            LaunchScanForward(arguments with
            {
                O = Take(workspace, inputs.U.Count),
                S = Take(workspace, state),
                P = momentum ? Take(workspace, state) : null,
            });
        }

        LaunchScanBackward(workspace, arguments with
        {
            DO = Pointer(upstream.O),
            DS = Pointer(upstream.S),
            DP = Pointer(upstream.P),
            DNextStart = Pointer(upstream.ChunkStart),
            DQ = Pointer(gradients.Q),
            DK = Pointer(gradients.K),
            DU = Pointer(gradients.U),
            DLogAlpha = Pointer(gradients.LogAlpha),
            DErase = Pointer(gradients.Erase),
            DMu = Pointer(gradients.Mu),
            DTheta = Pointer(gradients.Theta),
            DS0 = Pointer(gradients.S0),
            DP0 = Pointer(gradients.P0),
            DStart = Pointer(gradients.ChunkStart),
        });
    }

    // A few tokens whose states are not saved.
    private bool CanDecode(in ScanInputs inputs, [NotNullWhen(false)] out string? reason) =>
        CanRun(ScanKernels.DecodeFile, out reason) && TakesKeys(inputs.KeyDim, out reason)
        && Fits(0, StateBlocks(inputs, ScanKernels.DecodeColumns), out reason) && HasElements(inputs, out reason);

    private bool CanRun(in ScanInputs inputs, ScanSettings settings, [NotNullWhen(false)] out string? reason)
    {
        bool momentum = inputs.Mu is not null;
        return CanRun(ScanKernels.File, out reason) && TakesKeys(inputs.KeyDim, out reason)
            && TakesChunk(settings, out reason)
            && Fits(ScanKernels.SharedBytes(inputs.KeyDim, momentum), StateBlocks(inputs, ScanKernels.Columns(momentum)), out reason)
            && HasElements(inputs, out reason);
    }

    // All kernels of the gradient, and the forward pass that makes the states again.
    private bool CanRunBackward(in ScanInputs inputs, ScanSettings settings, [NotNullWhen(false)] out string? reason)
    {
        long chunks = new ChunkPlan(BackwardChunk(settings), settings.Phase, inputs.Time).Count;
        return CanRun(ScanKernels.BackwardFile, out reason) && CanRun(inputs, settings, out reason)
            && Fits(BackwardSharedBytes(inputs.KeyDim, inputs.Mu is not null), BackwardBlocks(inputs, chunks), out reason);
    }

    private static bool TakesKeys(int keyDim, [NotNullWhen(false)] out string? reason)
    {
        reason = keyDim <= ScanKernels.MaxKeyDim ? null : $"keys have {keyDim} elements and can have {ScanKernels.MaxKeyDim}";
        return reason is null;
    }

    private static bool HasElements(in ScanInputs inputs, [NotNullWhen(false)] out string? reason)
    {
        reason = inputs.KeyDim > 0 && inputs.ValueDim > 0 ? null
            : $"keys have {inputs.KeyDim} and values {inputs.ValueDim} elements and must have some";
        return reason is null;
    }

    // S_c of a chunk in pieces would be none of the states at their starts.
    private static bool TakesChunk(ScanSettings settings, [NotNullWhen(false)] out string? reason)
    {
        reason = settings.HasMeaningfulChunk && settings.Chunk > ScanKernels.Chunk
            ? $"chunks whose start the rule reads have {settings.Chunk} tokens and can have {ScanKernels.Chunk}"
            : null;
        return reason is null;
    }

    // States that were saved at longer intervals are made again at those of the kernels.
    private static int BackwardChunk(ScanSettings settings) => Math.Min(settings.Chunk, ScanKernels.Chunk);

    private static int BackwardSharedBytes(int keyDim, bool momentum) => Math.Max(
        ScanKernels.SharedBytes(keyDim, momentum),
        Math.Max(ScanKernels.WritesSharedBytes(keyDim, momentum), ScanKernels.TokensSharedBytes(keyDim)));

    // The most of a launch.
    private static long BackwardBlocks(in ScanInputs inputs, long chunks) =>
        chunks * Math.Max(StateBlocks(inputs, ScanKernels.WritesColumns), (long)inputs.Batch * inputs.Heads);

    private static ScanArguments Arguments(in ScanInputs inputs, ScanSettings settings, int chunk) => new()
    {
        Q = Pointer(inputs.Q),
        K = Pointer(inputs.K),
        U = Pointer(inputs.U),
        LogAlpha = Pointer(inputs.LogAlpha),
        Erase = Pointer(inputs.Erase),
        Mu = Pointer(inputs.Mu),
        Theta = Pointer(inputs.Theta),
        S0 = Pointer(inputs.S0),
        P0 = Pointer(inputs.P0),
        Start = Pointer(inputs.ChunkStart),
        ReadTokens = inputs.Time,
        WriteTokens = inputs.Time,
        Batch = inputs.Batch,
        Time = inputs.Time,
        Heads = inputs.Heads,
        KeyDim = inputs.KeyDim,
        ValueDim = inputs.ValueDim,
        Chunk = chunk,
        Phase = settings.Phase,
        ReadDim = inputs.ValueDim,
        Read = (int)settings.Read,
        Frozen = settings.Write == ScanWrite.FrozenL2 ? 1 : 0,
        Scale = settings.Scale,
    };

    private void LaunchScanForward(in ScanArguments a)
    {
        bool momentum = a.Mu is not null;
        LaunchScan(
            momentum ? ScanKernels.ForwardMomentum : ScanKernels.Forward, StateBlocks(a, ScanKernels.Columns(momentum)),
            ScanKernels.SharedBytes(a.KeyDim, momentum), a);
    }

    /// <summary>W of every chunk, then the states' gradients with Y of every chunk, then the tokens'.</summary>
    private void LaunchScanBackward(Workspace workspace, ScanArguments a)
    {
        bool momentum = a.Mu is not null;
        int chunks = a.Chunks, heads = a.Batch * a.Heads;
        long states = (long)heads * chunks * a.KeyDim * a.ValueDim, rows = a.Batch * a.WriteTokens * a.Heads * a.ValueDim;
        a.W = Take(workspace, rows);
        a.Y = Take(workspace, rows);
        a.DStates = Take(workspace, states);
        a.DMomenta = momentum ? Take(workspace, states) : null;
        LaunchScan(
            ScanKernels.Writes, chunks * StateBlocks(a, ScanKernels.WritesColumns), ScanKernels.WritesSharedBytes(a.KeyDim, momentum), a);
        LaunchScan(
            momentum ? ScanKernels.StatesMomentum : ScanKernels.States, StateBlocks(a, ScanKernels.Columns(momentum)),
            ScanKernels.SharedBytes(a.KeyDim, momentum), a);
        LaunchScan(ScanKernels.Tokens, (long)chunks * heads, ScanKernels.TokensSharedBytes(a.KeyDim), a);
    }

    private void LaunchScan(CudaKernel<ScanArguments>[] kernels, long blocks, int sharedBytes, in ScanArguments a) =>
        Launch(kernels[(int)TensorCores], blocks, ScanKernels.Threads, sharedBytes, a);

    // Blocks of so many columns of every head's state.
    private static long StateBlocks(in ScanInputs inputs, int columns) =>
        StateBlocks((long)inputs.Batch * inputs.Heads, inputs.ValueDim, columns);

    private static long StateBlocks(in ScanArguments a, int columns) => StateBlocks((long)a.Batch * a.Heads, a.ValueDim, columns);

    private static long StateBlocks(long heads, int valueDim, int columns) => heads * ((valueDim + columns - 1) / columns);
}
