using BenchmarkDotNet.Attributes;

namespace NestedLearning.Benchmarks;

/// <summary>A weight [M, 2048]'s gradient from a chunk's tokens, and its AdamW step.</summary>
public class GemmAdamBenchmark : DeviceBenchmark
{
    private const int N = 2048;

    private readonly AdamSettings _settings = new(1e-3f, 0.9, 0.999, 1e-8f, 0.01f, Decoupled: true, Step: 10, GradientScale: 1);
    private GemmArguments _product;
    private AdamTensors _weight;

    [Params(512, 2048)]
    public int M { get; set; }

    [Params(64, 256, 2048)]
    public int Tokens { get; set; }

    protected override void Prepare()
    {
        _weight = new AdamTensors(Uniform([M, N]), Empty([M, N]), Uniform([M, N], 0, 0), Uniform([M, N], 0, 0));
        _product = new GemmArguments { A = Uniform([Tokens, M]), B = Uniform([Tokens, N]), C = _weight.G, TransposeA = true };
    }

    [Benchmark(Baseline = true)]
    public void Apart()
    {
        Dense.Gemm(_product);
        Dense.AdamCommit(_weight.W, _weight.G, _weight.M, _weight.V, _settings);
    }

    [Benchmark]
    public void Fused() => Dense.GemmAdamCommit(_product.A, _product.B, null, _weight.W, _weight.M, _weight.V, _settings);
}
