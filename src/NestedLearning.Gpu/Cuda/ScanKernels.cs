using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

// Mirrors native/kernels/scan/scan.cuh.
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ScanArguments
{
    public float* Q, K, U, LogAlpha, Erase, Theta, S0, O, S, States, ChunkStart;
    public int Batch, Time, Heads, KeyDim, ValueDim, Chunk, Read, Frozen;
    public float Scale;
    private readonly int _reserved;
}

internal static class ScanKernels
{
    public const string File = "scan";
    public const int Threads = 256, Chunk = 64, Columns = 64, MaxKeyDim = 128;

    private static readonly CudaKernel<ScanArguments>
        s_float32 = new(File, "nl_scan_forward_float32"),
        s_tf32 = new(File, "nl_scan_forward_tf32"),
        s_bf16 = new(File, "nl_scan_forward_bf16");

    public static CudaKernel<ScanArguments> Forward(TensorCores allowed) => allowed switch
    {
        TensorCores.TensorFloat32 => s_tf32,
        TensorCores.BFloat16 => s_bf16,
        _ => s_float32,
    };

    /// <summary>ScanSharedBytes of scan.cuh.</summary>
    public static int SharedBytes(int keyDim)
    {
        int keys = (keyDim + 15) / 16 * 16, row = ((keys + 31) / 32 * 32) + 4;
        return sizeof(float) * ((2 * Chunk * row) + (keys * (Columns + 8)) + (Chunk * (Columns + 8)) + (2 * Chunk * (Chunk + 4)) + (6 * Chunk) + 4);
    }
}
