using ILGPU;
using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    public override void EmbeddingForward(IndexTensor tokens, Tensor table, Tensor y) =>
        LaunchItems(EmbeddingKernels.Forward, y.Count, new EmbeddingArguments
        {
            Tokens = View(tokens), Table = View(table), Rows = View(y), Count = tokens.Count, Width = table.Shape.Last,
        });

    public override void EmbeddingBackward(IndexTensor tokens, Tensor dy, Tensor dTable)
    {
        using var workspace = new Workspace(this);
        DeviceStorage links = workspace.Take(2L * tokens.Count);
        Elementwise(ElementwiseKernels.Fill, new() { X = links.View });
        var arguments = new EmbeddingArguments
        {
            Tokens = View(tokens), Links = links.View.Cast<int>(), Table = View(dTable), Rows = View(dy),
            Count = tokens.Count, Width = dTable.Shape.Last,
        };
        LaunchItems(EmbeddingKernels.Link, tokens.Count, arguments);
        Launch(EmbeddingKernels.Backward, tokens.Count, arguments);
    }
}
