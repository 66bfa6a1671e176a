using TorchTensor = TorchSharp.torch.Tensor;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>An operation on tokens whose TorchSharp side has heads before tokens, as its batched products want it.</summary>
public abstract class ByHeadBenchmark : PeerBenchmark
{
    /// <summary>The names of the inputs.</summary>
    private protected abstract string[] Inputs { get; }

    /// <summary>The outputs [B, H, T, D] of inputs [B, H, T, D] and [B, H, T], or their gradients where the case has them.</summary>
    private protected Computation OfInputs(Func<TorchTensor[], TorchTensor> function)
    {
        TorchTensor[] inputs = [.. Inputs.Select(CopyByHead)];
        Computation computation = CaseName.EndsWith("-backward", StringComparison.Ordinal)
            ? Gradients(inputs, CopyByHead("do"), function, [.. Inputs.Select(name => "d" + name)])
            : () => [("o", function(inputs))];
        return () => [.. computation().Select(result => (result.Name, result.Value.transpose(1, 2)))];
    }

    private TorchTensor CopyByHead(string name) => Copy(name).transpose(1, 2).contiguous();
}
