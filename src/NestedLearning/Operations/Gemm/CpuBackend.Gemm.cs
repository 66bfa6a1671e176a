using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    public override void Gemm(in Operations.GemmArguments arguments) => Gemm(
        new Native.GemmArguments
        {
            Size = (uint)sizeof(Native.GemmArguments),
            TransposeA = arguments.TransposeA ? 1 : 0,
            TransposeB = arguments.TransposeB ? 1 : 0,
            Epilogue = (int)arguments.Epilogue,
            Accumulate = arguments.Accumulate ? 1 : 0,
            M = arguments.M,
            N = arguments.N,
            K = arguments.K,
            A = arguments.A.Pointer,
            B = arguments.B.Pointer,
            C = arguments.C.Pointer,
            Bias = PointerOrNull(arguments.Bias),
            PreActivation = PointerOrNull(arguments.PreActivation),
            Residual = PointerOrNull(arguments.Residual),
            ResidualScale = arguments.ResidualScale,
            Precision = (int)arguments.Precision,
            Symmetric = arguments.Symmetric ? 1 : 0,
        });
}
