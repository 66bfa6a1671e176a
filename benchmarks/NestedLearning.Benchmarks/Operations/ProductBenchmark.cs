using BenchmarkDotNet.Attributes;
using TorchTensor = TorchSharp.torch.Tensor;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>C = A B, of one pair of matrices and of many.</summary>
public class ProductBenchmark : PeerBenchmark
{
    [Params("gemm-1024", "gemm-64x512")]
    public override string CaseName { get; set; } = "";

    private protected override Computation PreparePeer()
    {
        TorchTensor a = Copy("a"), b = Copy("b");
        return () => [("c", a.matmul(b))];
    }
}
