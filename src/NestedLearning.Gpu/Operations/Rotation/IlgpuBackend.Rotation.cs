using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    public override void Rotate(Tensor x, Tensor table, bool back, Tensor y)
    {
        long items = (long)x.Shape[0] * x.Shape[1] * x.Shape[2] * ((x.Shape[3] + 1) / 2);
        LaunchItems(RotationKernels.Rotate, items, new RotationArguments
        {
            X = View(x),
            Table = View(table),
            Y = View(y),
            Time = x.Shape[1],
            Heads = x.Shape[2],
            Width = x.Shape[3],
            Sign = back ? -1 : 1,
        });
    }
}
