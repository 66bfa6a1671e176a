using BenchmarkDotNet.Attributes;

namespace NestedLearning.Benchmarks;

/// <summary>C = AB with N × N matrices: 2 N³ operations.</summary>
public class GemmBenchmark : DeviceBenchmark
{
    private GemmArguments _product;

    [Params(128, 512)]
    public int N { get; set; }

    protected override void Prepare() =>
        _product = new GemmArguments { A = Uniform([N, N]), B = Uniform([N, N]), C = Empty([N, N]) };

    [Benchmark]
    public void Product() => Dense.Gemm(_product);

    [Benchmark]
    public void ProductWithTransposedB() => Dense.Gemm(_product with { TransposeB = true });
}
