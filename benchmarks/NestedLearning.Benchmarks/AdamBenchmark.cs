using BenchmarkDotNet.Attributes;

namespace NestedLearning.Benchmarks;

/// <summary>One AdamW step over 16 million elements, in tensors of the same size.</summary>
public class AdamBenchmark : DeviceBenchmark
{
    private AdamTensors[] _tensors = [];
    private AdamSettings _settings;

    [Params(1, 200)]
    public int Tensors { get; set; }

    [ParamsAllValues]
    public MomentPrecision Moments { get; set; }

    protected override void Prepare()
    {
        int count = 16_000_000 / Tensors;
        Shape moments = [Moments == MomentPrecision.BFloat16 ? BFloat16.PackedCount(count) : count];
        _settings = new AdamSettings(1e-3f, 0.9, 0.999, 1e-8f, 0.01f, Decoupled: true, Step: 10, GradientScale: 1) { Moments = Moments };
        _tensors = [.. Enumerable.Range(0, Tensors).Select(_ => new AdamTensors(Uniform([count]), Uniform([count]), Uniform(moments, 0, 0), Uniform(moments, 0, 0)))];
    }

    [Benchmark]
    public void Commit() => Dense.AdamCommit(_tensors, _settings);
}
