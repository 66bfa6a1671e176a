using BenchmarkDotNet.Attributes;
using static TorchSharp.torch.nn.functional;
using TorchTensor = TorchSharp.torch.Tensor;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>y = x + GELU(x W_in + b_in) W_out.</summary>
public class MlpBenchmark : PeerBenchmark
{
    [Params("mlp", "mlp-backward")]
    public override string CaseName { get; set; } = "";

    private protected override Computation PreparePeer()
    {
        // As torch.nn.Linear holds them: outputs first.
        TorchTensor x = Copy("x"), bias = Copy("bias_in"), weightIn = Copy("weight_in").t().contiguous(),
            weightOut = Copy("weight_out").t().contiguous();
        if (CaseName == "mlp")
            return () => [("y", Forward([x, weightIn, bias, weightOut]))];
        Computation backward = Gradients([x, weightIn, bias, weightOut], Copy("dy"), Forward,
            ["dx", "dweight_in", "dbias_in", "dweight_out"]);
        return () =>
        {
            (string Name, TorchTensor Value)[] gradients = backward();
            gradients[1].Value = gradients[1].Value.t();
            gradients[3].Value = gradients[3].Value.t();
            return gradients;
        };
    }

    private static TorchTensor Forward(TorchTensor[] inputs) =>
        inputs[0] + linear(gelu(linear(inputs[0], inputs[1], inputs[2])), inputs[3]);
}
