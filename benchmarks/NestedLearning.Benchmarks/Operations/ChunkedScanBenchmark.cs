using System.Diagnostics;
using TorchSharp;
using TorchTensor = TorchSharp.torch.Tensor;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>A scan whose TorchSharp side works on chunks, of the length that is fastest here.</summary>
public abstract class ChunkedScanBenchmark : ByHeadBenchmark
{
    private protected const float Scale = 0.125f;

    /// <summary>The reads [B, H, T, D].</summary>
    private protected abstract TorchTensor Forward(TorchTensor[] inputs, long chunk);

    private protected override Computation PreparePeer() =>
        new long[] { 32, 64, 128 }.Select(chunk => OfInputs(x => Forward(x, chunk))).MinBy(SecondsOfSecondCall)!;

    // The first makes memory and caches warm.
    private static double SecondsOfSecondCall(Computation computation)
    {
        using DisposeScope scope = torch.NewDisposeScope();
        computation();
        long start = Stopwatch.GetTimestamp();
        computation();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
