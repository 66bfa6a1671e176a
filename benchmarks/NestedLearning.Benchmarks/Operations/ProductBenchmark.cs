using BenchmarkDotNet.Attributes;
using static TorchSharp.torch;
using TorchTensor = TorchSharp.torch.Tensor;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>
/// C = A B, of one pair of matrices and of many. With bfloat16 operands the peer holds them as bfloat16 and writes C as such, and
/// what it takes to round them is not counted; ours reads float32, rounds it each time, and writes float32.
/// </summary>
public class ProductBenchmark : PeerBenchmark
{
    [Params("gemm-1024", "gemm-1024-bf16", "gemm-64x512")]
    public override string CaseName { get; set; } = "";

    private bool IsBFloat16 => CaseName == "gemm-1024-bf16";

    // The peer's C has eight significant bits: rounded to nearest it is off by up to 2⁻⁸ of the element.
    private protected override double Tolerance => IsBFloat16 ? base.Tolerance + Math.ScaleB(1, -8) : base.Tolerance;

    private protected override Computation PreparePeer()
    {
        TorchTensor a = Copy("a"), b = Copy("b");
        if (IsBFloat16)
            (a, b) = (a.to(bfloat16), b.to(bfloat16));
        return () => [("c", a.matmul(b))];
    }
}
