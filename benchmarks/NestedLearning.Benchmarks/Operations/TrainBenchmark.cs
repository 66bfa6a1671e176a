using BenchmarkDotNet.Attributes;
using NestedLearning.CommandLine.Bench;
using NestedLearning.Models;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using TorchTensor = TorchSharp.torch.Tensor;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>A step of training a Transformer: forward, backward and AdamW.</summary>
public class TrainBenchmark : PeerBenchmark
{
    private const int ComparedSteps = 4;

    // A loss is a mean over thousands of tokens. Gradients of float32 sums in another order differ by some 1e-5 of their
    // size, and so does what a step takes from the loss; that is no more than the loss itself.
    private const double LossTolerance = 1e-4;

    // AdamW moves every element by about the learning rate, in its gradient's direction. Elements whose gradient is within
    // the difference r of both sides, a share of about r of them, may go the other way: changes differ by 2 √r of their length,
    // 0.6 % for r = 1e-5. A wrong sign, rate or coefficient of the optimizer differs by more than 5 %.
    private const double ChangeTolerance = 0.05;

    private Func<double> _step = null!;
    private TorchTransformer _model = null!;

    [Params("train-25m")]
    public override string CaseName { get; set; } = "";

    /// <summary>Prepares both sides and lets both learn for some steps, whose losses and changes of all weights are compared.</summary>
    public override void Prepare()
    {
        base.Prepare();
        if (Peer.Absence is not null)
            return;
        // Both have done one step.
        for (int step = 2; step <= ComparedSteps; step++)
        {
            Ours();
            double ours = Tensors["loss"].ToArray()[0], theirs = _step();
            if (!(Math.Abs(ours - theirs) <= LossTolerance * Math.Abs(theirs)))
                throw new InvalidOperationException($"{CaseName}: the loss of step {step} is {ours}, TorchSharp's {theirs}, expected " +
                    $"within {LossTolerance:E1} of it.");
        }

        using DisposeScope scope = NewDisposeScope();
        foreach ((string name, double difference) in _model.DifferenceOfChanges(Tensors.Owned<SequenceModel>()))
        {
            if (!(difference <= ChangeTolerance))
                throw new InvalidOperationException($"{CaseName}: '{name}' changed otherwise than TorchSharp's, by {difference:P1} of " +
                    $"the change, expected at most {ChangeTolerance:P0}.");
        }
    }

    private protected override Computation PreparePeer()
    {
        SequenceModel ours = Tensors.Owned<SequenceModel>();
        ModelConfiguration configuration = ours.Configuration;
        TransformerSize size = TransformerSize.Of25M;
        _model = new TorchTransformer(configuration, size.Time);
        _model.CopyFrom(ours);
        AdamW optimizer = optim.AdamW(_model.ParameterGroups(configuration));
        TorchTensor tokens = Indices("tokens").reshape(size.Batch, size.Time), targets = Indices("targets");
        Func<TorchTensor> step = () =>
        {
            optimizer.zero_grad();
            TorchTensor loss = nn.functional.cross_entropy(_model.call(tokens).view(-1, configuration.Vocabulary), targets);
            loss.backward();
            optimizer.step();
            return loss;
        };
        _step = () =>
        {
            using DisposeScope scope = NewDisposeScope();
            return step().item<float>();
        };
        return () => [("loss", step().reshape(1))];
    }

    private TorchTensor Indices(string name) => tensor(Tensors.Indices(name).ToArray()).to(int64);
}
