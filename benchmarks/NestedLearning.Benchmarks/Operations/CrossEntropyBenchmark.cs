using BenchmarkDotNet.Attributes;
using static TorchSharp.torch;
using TorchTensor = TorchSharp.torch.Tensor;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>The mean of −log softmax(logits)[target], and its gradient.</summary>
public class CrossEntropyBenchmark : PeerBenchmark
{
    [Params("cross-entropy")]
    public override string CaseName { get; set; } = "";

    private protected override Computation PreparePeer()
    {
        TorchTensor targets = tensor(Tensors.Indices("targets").ToArray()).to(int64);
        return Gradients([Copy("logits")], ones([]), x => nn.functional.cross_entropy(x[0], targets), ["dlogits"]);
    }
}
