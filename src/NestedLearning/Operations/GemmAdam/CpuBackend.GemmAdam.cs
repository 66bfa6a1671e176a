using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    public override void GemmAdamCommit(Tensor x, Tensor dy, Tensor? accumulated, Tensor w, Tensor m, Tensor v, AdamSettings settings)
    {
        var operands = new AdamOperands(w, accumulated, m, v, settings);
        AdamArguments adam = Adam(operands);
        var product = new Native.GemmArguments
        {
            Size = (uint)sizeof(Native.GemmArguments),
            TransposeA = 1,
            Epilogue = Native.Epilogue.Adam,
            M = w.Shape[0],
            N = w.Shape[1],
            K = x.Shape.Rows,
            A = x.Pointer,
            B = dy.Pointer,
            Adam = &adam,
        };
        Gemm(product, operands.Cost * operands.Count);
    }
}
