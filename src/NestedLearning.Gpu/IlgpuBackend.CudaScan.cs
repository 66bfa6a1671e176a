using NestedLearning.Gpu.Cuda;
using Cuda = NestedLearning.Gpu.Cuda;

namespace NestedLearning.Gpu;

// The scan in hand-written CUDA: each returns whether it did it.
internal sealed unsafe partial class IlgpuBackend
{
    private bool CudaScanForward(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs)
    {
        if (CudaScan(inputs, settings, Cuda.ScanKernels.File) is not { } cuda)
            return false;
        LaunchScanForward(cuda, Arguments(inputs, settings, settings.Chunk) with
        {
            O = Pointer(outputs.O),
            S = Pointer(outputs.S),
            P = Pointer(outputs.P),
            States = Pointer(outputs.Saved.States),
            Momenta = Pointer(outputs.Saved.Momenta),
            NextStart = Pointer(outputs.ChunkStart),
        });
        return true;
    }

    private bool CudaScanBackward(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, in ScanOutputGradients upstream, in ScanGradients gradients)
    {
        // States that were saved at longer intervals are made again at those of the kernels.
        int chunk = Math.Min(settings.Chunk, Cuda.ScanKernels.Chunk);
        if (CudaScan(inputs, settings, Cuda.ScanKernels.BackwardFile) is not { } cuda)
            return false;
        using var workspace = new Workspace(this);
        Cuda.ScanArguments arguments = Arguments(inputs, settings, chunk);
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
            LaunchScanForward(cuda, arguments with
            {
                O = Take(workspace, inputs.U.Count),
                S = Take(workspace, state),
                P = momentum ? Take(workspace, state) : null,
            });
        }

        LaunchScanBackward(cuda, workspace, arguments with
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
        return true;
    }

    // A few tokens whose states are not saved.
    private bool CudaScanDecode(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs)
    {
        if (CudaWith(Cuda.ScanKernels.DecodeFile) is not { } cuda || inputs.KeyDim > Cuda.ScanKernels.MaxKeyDim)
            return false;
        Cuda.ScanArguments arguments = Arguments(inputs, settings, settings.Chunk) with
        {
            O = Pointer(outputs.O),
            S = Pointer(outputs.S),
            P = Pointer(outputs.P),
            NextStart = Pointer(outputs.ChunkStart),
        };
        int blocks = StateBlocks(arguments, Cuda.ScanKernels.DecodeColumns);
        if (blocks > 0)
            LaunchCuda(cuda, Cuda.ScanKernels.Decode, blocks, Cuda.ScanKernels.DecodeThreads, 0, arguments);
        return true;
    }

    // The modules, where they can do such a scan.
    private CudaModules? CudaScan(in ScanInputs inputs, ScanSettings settings, string file)
    {
        // S_c of a chunk in pieces would be none of the states at their starts.
        if (settings.HasMeaningfulChunk && settings.Chunk > Cuda.ScanKernels.Chunk)
            return null;
        return CudaWith(file) is { } cuda && CudaScanFits(cuda, file, inputs.KeyDim, inputs.Mu is not null) ? cuda : null;
    }

    private static bool CudaScanFits(CudaModules cuda, string file, int keyDim, bool momentum)
    {
        if (keyDim > Cuda.ScanKernels.MaxKeyDim || !cuda.Has(Cuda.ScanKernels.File) || !cuda.Has(file))
            return false;
        int largest = Cuda.ScanKernels.SharedBytes(keyDim, momentum);
        if (file == Cuda.ScanKernels.BackwardFile)
            largest = Math.Max(largest, Math.Max(Cuda.ScanKernels.WritesSharedBytes(keyDim, momentum), Cuda.ScanKernels.TokensSharedBytes(keyDim)));
        return largest <= cuda.LargestSharedBytes;
    }

    private static Cuda.ScanArguments Arguments(in ScanInputs inputs, ScanSettings settings, int chunk) => new()
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

    private void LaunchScanForward(CudaModules cuda, in Cuda.ScanArguments a)
    {
        bool momentum = a.Mu is not null;
        LaunchScan(
            cuda, momentum ? Cuda.ScanKernels.ForwardMomentum : Cuda.ScanKernels.Forward, StateBlocks(a, Cuda.ScanKernels.Columns(momentum)),
            Cuda.ScanKernels.SharedBytes(a.KeyDim, momentum), a);
    }

    /// <summary>W of every chunk, then the states' gradients with Y of every chunk, then the tokens'.</summary>
    private void LaunchScanBackward(CudaModules cuda, Workspace workspace, Cuda.ScanArguments a)
    {
        bool momentum = a.Mu is not null;
        int chunks = a.Chunks, heads = a.Batch * a.Heads;
        long states = (long)heads * chunks * a.KeyDim * a.ValueDim, rows = a.Batch * a.WriteTokens * a.Heads * a.ValueDim;
        a.W = Take(workspace, rows);
        a.Y = Take(workspace, rows);
        a.DStates = Take(workspace, states);
        a.DMomenta = momentum ? Take(workspace, states) : null;
        LaunchScan(cuda, Cuda.ScanKernels.Writes, chunks * StateBlocks(a, Cuda.ScanKernels.WritesColumns), Cuda.ScanKernels.WritesSharedBytes(a.KeyDim, momentum), a);
        LaunchScan(
            cuda, momentum ? Cuda.ScanKernels.StatesMomentum : Cuda.ScanKernels.States, StateBlocks(a, Cuda.ScanKernels.Columns(momentum)),
            Cuda.ScanKernels.SharedBytes(a.KeyDim, momentum), a);
        LaunchScan(cuda, Cuda.ScanKernels.Tokens, chunks * heads, Cuda.ScanKernels.TokensSharedBytes(a.KeyDim), a);
    }

    private void LaunchScan(CudaModules cuda, CudaKernel<Cuda.ScanArguments>[] kernels, int blocks, int sharedBytes, in Cuda.ScanArguments a)
    {
        if (blocks > 0)
            LaunchCuda(cuda, kernels[(int)TensorCores], blocks, Cuda.ScanKernels.Threads, sharedBytes, a);
    }

    private static int StateBlocks(in Cuda.ScanArguments a, int columns) => Cuda.ScanKernels.Blocks(a.Batch * a.Heads, a.ValueDim, columns);

    private static float* Take(Workspace workspace, long count) => (float*)workspace.Take(count).Pointer;
}
