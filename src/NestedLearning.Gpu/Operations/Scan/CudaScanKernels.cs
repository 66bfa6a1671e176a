namespace NestedLearning.Gpu.Cuda;

internal partial struct ScanArguments
{
    public readonly int Chunks => new ChunkPlan(Chunk, Phase, Time).Count;
}

internal static partial class ScanKernels
{
    public const string File = "scan", BackwardFile = "scan_backward", DecodeFile = "scan_decode";

    public static readonly CudaKernel<ScanArguments>[]
        Forward = CudaKernel.InEachRounding<ScanArguments>(File, "nl_scan_forward"),
        ForwardMomentum = CudaKernel.InEachRounding<ScanArguments>(File, "nl_scan_forward_momentum"),
        Writes = CudaKernel.InEachRounding<ScanArguments>(File, "nl_scan_writes"),
        States = CudaKernel.InEachRounding<ScanArguments>(BackwardFile, "nl_scan_states"),
        StatesMomentum = CudaKernel.InEachRounding<ScanArguments>(BackwardFile, "nl_scan_states_momentum"),
        Tokens = CudaKernel.InEachRounding<ScanArguments>(BackwardFile, "nl_scan_tokens");

    public static readonly CudaKernel<ScanArguments> Decode = new(DecodeFile, "nl_scan_decode");
}
