using BenchmarkDotNet.Attributes;
using TorchTensor = TorchSharp.torch.Tensor;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>X ← G/‖G‖, five times A = X Xᵀ; X ← 3.4445 X + (−4.7750 A + 2.0315 A²) X.</summary>
public class NewtonSchulzBenchmark : PeerBenchmark
{
    [Params("newton-schulz-1024")]
    public override string CaseName { get; set; } = "";

    private protected override Computation PreparePeer()
    {
        TorchTensor g = Copy("g");
        return () =>
        {
            TorchTensor x = g / g.norm();
            for (int step = 0; step < 5; step++)
            {
                TorchTensor a = x.mm(x.t());
                x = x.addmm(a.addmm(a, a, beta: -4.7750f, alpha: 2.0315f), x, beta: 3.4445f);
            }

            return [("x", x)];
        };
    }
}
