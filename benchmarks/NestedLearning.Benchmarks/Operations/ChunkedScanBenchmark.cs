using System.Diagnostics;
using TorchSharp;
using TorchTensor = TorchSharp.torch.Tensor;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>A scan whose TorchSharp side is chunked, with heads before tokens, and the chunk length that is fastest here.</summary>
public abstract class ChunkedScanBenchmark : PeerBenchmark
{
    private protected const float Scale = 0.125f;

    /// <summary>The names of the inputs that the scan takes.</summary>
    private protected abstract string[] Inputs { get; }

    /// <summary>The reads [B, H, T, D], from inputs [B, H, T, D] and [B, H, T].</summary>
    private protected abstract TorchTensor Forward(TorchTensor[] inputs, long chunk);

    private protected override Computation PreparePeer()
    {
        TorchTensor[] inputs = [.. Inputs.Select(CopyByHead)];
        string[] gradients = [.. Inputs.Select(name => "d" + name)];
        TorchTensor? upstream = CaseName.EndsWith("-backward", StringComparison.Ordinal) ? CopyByHead("do") : null;
        return new long[] { 32, 64, 128 }.Select(WithChunk).MinBy(SecondsOfSecondCall)!;

        Computation WithChunk(long chunk)
        {
            Computation computation = upstream is null
                ? () => [("o", Forward(inputs, chunk))]
                : Gradients(inputs, upstream, x => Forward(x, chunk), gradients);
            return () => [.. computation().Select(result => (result.Name, result.Value.transpose(1, 2)))];
        }
    }

    private TorchTensor CopyByHead(string name) => Copy(name).transpose(1, 2).contiguous();

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
