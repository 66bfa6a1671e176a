using BenchmarkDotNet.Attributes;
using static TorchSharp.torch.nn.functional;
using TorchTensor = TorchSharp.torch.Tensor;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>Softmax causal attention.</summary>
public class AttentionBenchmark : ByHeadBenchmark
{
    [Params("attention", "attention-backward")]
    public override string CaseName { get; set; } = "";

    private protected override string[] Inputs => ["q", "k", "v"];

    private protected override Computation PreparePeer() => OfInputs(x => scaled_dot_product_attention(x[0], x[1], x[2], is_casual: true));
}
