using BenchmarkDotNet.Attributes;
using static TorchSharp.torch;
using TorchTensor = TorchSharp.torch.Tensor;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>S ← α S + kᵀu, o = scale · q S. TorchSharp's side is chunked; only the sum over chunks is a loop.</summary>
public class LinearAttentionBenchmark : ChunkedScanBenchmark
{
    [Params("scan-linear-backward")]
    public override string CaseName { get; set; } = "";

    private protected override string[] Inputs => ["q", "k", "u", "log_alpha"];

    private protected override TorchTensor Forward(TorchTensor[] inputs, long chunk)
    {
        (TorchTensor q, TorchTensor k, TorchTensor u, TorchTensor logAlpha) = (inputs[0], inputs[1], inputs[2], inputs[3]);
        long batch = q.shape[0] * q.shape[1], chunks = q.shape[2] / chunk, dim = q.shape[3];
        long[] inChunks = [batch, chunks, chunk, dim];
        TorchTensor queries = (Scale * q).reshape(inChunks), keys = k.reshape(inChunks), writes = u.reshape(inChunks);
        TorchTensor decay = logAlpha.reshape(batch, chunks, chunk, 1).cumsum(2);
        TorchTensor whole = decay.narrow(2, chunk - 1, 1);
        TorchTensor inside = queries.matmul(keys.transpose(-1, -2)) * (decay - decay.transpose(-1, -2)).tril().exp().tril();
        TorchTensor[] added = (keys * (whole - decay).exp()).transpose(-1, -2).matmul(writes).unbind(1);
        TorchTensor[] kept = whole.exp().unbind(1);
        var states = new TorchTensor[chunks];
        states[0] = zeros(batch, dim, dim);
        for (int c = 1; c < chunks; c++)
            states[c] = kept[c - 1] * states[c - 1] + added[c - 1];
        return ((queries * decay.exp()).matmul(stack(states, 1)) + inside.matmul(writes)).reshape(q.shape);
    }
}
