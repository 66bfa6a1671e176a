using BenchmarkDotNet.Attributes;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>Scans that TorchSharp's users have no counterpart of: Titans with momentum, and one token at a time.</summary>
public class ScanBenchmark : OperationBenchmark
{
    [Params("scan-titans-backward", "scan-token")]
    public override string CaseName { get; set; } = "";
}
