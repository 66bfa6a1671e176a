using BenchmarkDotNet.Attributes;
using TorchSharp;
using TorchSharp.Modules;
using TorchParameter = TorchSharp.Modules.Parameter;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>A step of AdamW over many parameters.</summary>
public class AdamWBenchmark : PeerBenchmark
{
    [Params("adamw-16m", "adamw-200x80k")]
    public override string CaseName { get; set; } = "";

    private protected override Computation PreparePeer()
    {
        TorchParameter[] parameters = [.. Enumerable.Range(0, CaseName == "adamw-16m" ? 1 : 200)
            .Select(i => new TorchParameter(Copy($"w{i}")))];
        for (int i = 0; i < parameters.Length; i++)
            parameters[i].grad = Copy($"g{i}");
        AdamW optimizer = torch.optim.AdamW(parameters, lr: 1e-2, weight_decay: 0.01);
        return () =>
        {
            optimizer.step();
            return [("w0", parameters[0]), ($"w{parameters.Length - 1}", parameters[^1])];
        };
    }
}
