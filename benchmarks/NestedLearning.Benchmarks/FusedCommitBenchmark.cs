using BenchmarkDotNet.Attributes;
using NestedLearning.CommandLine.Bench;

namespace NestedLearning.Benchmarks;

/// <summary>A weight [M, 2048]'s gradient from a chunk's tokens and its AdamW step, one after the other and in one.</summary>
public class FusedCommitBenchmark
{
    private const int N = 2048;

    private readonly AdamSettings _settings = new(1e-3f, 0.9, 0.999, 1e-8f, 0.01f, Decoupled: true, Step: 10, GradientScale: 1);
    private Device _device = null!;
    private BenchTensors _tensors = null!;
    private GemmArguments _product;
    private AdamTensors _weight;

    [Params(512, 2048)]
    public int M { get; set; }

    [Params(64, 256, 2048)]
    public int Tokens { get; set; }

    [GlobalSetup]
    public void Prepare()
    {
        _device = Device.Open();
        BenchTensors t = _tensors = new BenchTensors(_device);
        _weight = new AdamTensors(t.Uniform("w", [M, N]), t.Zeros("g", [M, N]), t.Zeros("m", [M, N]), t.Zeros("v", [M, N]));
        _product = new GemmArguments { A = t.Uniform("x", [Tokens, M]), B = t.Uniform("dy", [Tokens, N]), C = _weight.G, TransposeA = true };
    }

    [GlobalCleanup]
    public void Clean()
    {
        _tensors.Dispose();
        _device.Dispose();
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
