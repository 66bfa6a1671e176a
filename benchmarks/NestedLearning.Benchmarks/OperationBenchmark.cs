using BenchmarkDotNet.Attributes;
using NestedLearning.CommandLine.Bench;

namespace NestedLearning.Benchmarks;

/// <summary>Cases of <c>nl bench</c>, on the best backend and all processors.</summary>
public abstract class OperationBenchmark
{
    private Device _device = null!;
    private BenchTensors _tensors = null!;
    private Action _ours = null!;

    /// <summary>Which; a class lists its own.</summary>
    public abstract string CaseName { get; set; }

    private protected BenchTensors Tensors => _tensors;

    [GlobalSetup]
    public virtual void Prepare()
    {
        _device = Device.Open();
        _tensors = new BenchTensors(_device);
        _ours = BenchCase.Find(CaseName).Prepare(_tensors);
    }

    [GlobalCleanup]
    public void Clean()
    {
        _tensors.Dispose();
        _device.Dispose();
    }

    [Benchmark]
    public void Ours() => _ours();
}
