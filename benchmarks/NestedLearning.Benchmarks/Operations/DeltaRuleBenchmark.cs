using BenchmarkDotNet.Attributes;
using static TorchSharp.torch;
using TorchTensor = TorchSharp.torch.Tensor;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>
/// S ← S + kᵀ(u − ε k S), o = scale · q S. TorchSharp's side is chunked: (I + diag(ε) tril(K Kᵀ)) W = U − diag(ε) K S
/// solved for all chunks at once with U and diag(ε) K on the right, then three products a chunk.
/// </summary>
public class DeltaRuleBenchmark : ChunkedScanBenchmark
{
    [Params("scan-delta", "scan-delta-backward")]
    public override string CaseName { get; set; } = "";

    private protected override string[] Inputs => ["q", "k", "u", "erase"];

    private protected override TorchTensor Forward(TorchTensor[] inputs, long chunk)
    {
        (TorchTensor q, TorchTensor k, TorchTensor u, TorchTensor erase) = (inputs[0], inputs[1], inputs[2], inputs[3]);
        long batch = q.shape[0] * q.shape[1], chunks = q.shape[2] / chunk, dim = q.shape[3];
        long[] inChunks = [batch, chunks, chunk, dim];
        TorchTensor queries = (Scale * q).reshape(inChunks), keys = k.reshape(inChunks);
        TorchTensor erased = erase.reshape(batch, chunks, chunk, 1) * keys;
        TorchTensor keysTransposed = keys.transpose(-1, -2);
        TorchTensor system = erased.matmul(keysTransposed);
        TorchTensor[] solved = linalg.solve_triangular(system, cat([u.reshape(inChunks), erased], -1), upper: false, left: true,
            unitriangular: true).tensor_split(2, -1);
        TorchTensor[] reads = queries.matmul(keysTransposed).tril().unbind(1);
        TorchTensor[] qs = queries.unbind(1), ks = keysTransposed.unbind(1), us = solved[0].unbind(1), es = solved[1].unbind(1);
        TorchTensor state = zeros(batch, dim, dim);
        var outputs = new TorchTensor[chunks];
        for (int c = 0; c < chunks; c++)
        {
            // TorchSharp's a.baddbmm(b, c) is c + a b.
            TorchTensor writes = es[c].baddbmm(state, us[c], alpha: -1);
            outputs[c] = reads[c].baddbmm(writes, qs[c].bmm(state));
            state = ks[c].baddbmm(writes, state);
        }

        return stack(outputs, 1).reshape(q.shape);
    }
}
