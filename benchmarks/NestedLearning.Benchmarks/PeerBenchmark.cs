using BenchmarkDotNet.Attributes;
using NestedLearning.CommandLine;
using TorchSharp;
using static TorchSharp.torch;
using TorchTensor = TorchSharp.torch.Tensor;

namespace NestedLearning.Benchmarks;

/// <summary>An operation that TorchSharp has too, on the same numbers.</summary>
public abstract class PeerBenchmark : OperationBenchmark
{
    private Computation _torch = null!;

    // Of the largest element. Both sides add up in float32, each in its own order.
    private protected virtual double Tolerance => 1e-4;

    /// <summary>
    /// The operation by TorchSharp: its results, under the names they have among <see cref="OperationBenchmark.Tensors"/>.
    /// </summary>
    private protected delegate (string Name, TorchTensor Value)[] Computation();

    /// <summary>Prepares both sides, and compares their results once before anything is timed.</summary>
    public override void Prepare()
    {
        base.Prepare();
        if (Peer.Absence is not null)
            return;
        _torch = PreparePeer();
        Ours();
        using DisposeScope scope = NewDisposeScope();
        foreach ((string name, TorchTensor value) in _torch())
        {
            float[] ours = Tensors[name].ToArray(), theirs = value.detach().to(float32).contiguous().data<float>().ToArray();
            double error = ours.Length == theirs.Length ? TensorError.Relative(ours, theirs) : double.PositiveInfinity;
            if (!(error <= Tolerance))
                throw new InvalidOperationException($"{CaseName}: '{name}' differs from TorchSharp's by {error:E1} of the largest " +
                    $"element, expected at most {Tolerance:E1}.");
        }
    }

    [Benchmark(Baseline = true)]
    public void Torch()
    {
        using DisposeScope scope = NewDisposeScope();
        _torch();
    }

    /// <summary>Copies the inputs, before either side has changed them, and gives the operation.</summary>
    private protected abstract Computation PreparePeer();

    /// <summary>A function of some inputs, and its gradients to all of them in the layout of ours.</summary>
    private protected static Computation Gradients(TorchTensor[] inputs, TorchTensor upstream, Func<TorchTensor[], TorchTensor> function,
        string[] names)
    {
        foreach (TorchTensor input in inputs)
            input.requires_grad = true;
        return () => [.. names.Zip(autograd.grad([function(inputs)], inputs, [upstream]))];
    }

    /// <summary>A copy of one of our tensors.</summary>
    private protected TorchTensor Copy(string name)
    {
        NestedLearning.Tensor source = Tensors[name];
        return tensor(source.ToArray()).reshape([.. source.Shape.Select(n => (long)n)]);
    }
}
