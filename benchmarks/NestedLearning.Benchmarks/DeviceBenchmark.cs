using BenchmarkDotNet.Attributes;

namespace NestedLearning.Benchmarks;

/// <summary>Runs its benchmarks on every backend that works here, with one thread and with all.</summary>
public abstract class DeviceBenchmark
{
    private readonly List<Tensor> _tensors = [];
    private int _seed;

    /// <summary>The backends that work here.</summary>
    public static IEnumerable<string> Backends => Device.Probe().Where(r => r.Available).Select(r => r.Name);

    /// <summary>One thread and, where there are more, all.</summary>
    public static IEnumerable<int> ThreadCounts => new[] { 1, Environment.ProcessorCount }.Distinct();

    [ParamsSource(nameof(Backends))]
    public string Backend { get; set; } = "";

    [ParamsSource(nameof(ThreadCounts))]
    public int Threads { get; set; }

    protected Device Device { get; private set; } = null!;

    [GlobalSetup]
    public void OpenDevice()
    {
        Device = Device.Open(Backend);
        Device.Threads = Threads;
        Prepare();
    }

    [GlobalCleanup]
    public void CloseDevice()
    {
        foreach (Tensor tensor in _tensors)
            tensor.Dispose();
        Device.Dispose();
    }

    /// <summary>Makes the tensors, before anything is timed.</summary>
    protected abstract void Prepare();

    /// <summary>A tensor of uniform numbers, the same in every run.</summary>
    protected Tensor Uniform(Shape shape, float low = -1, float high = 1)
    {
        var random = new Random(++_seed);
        float[] elements = new float[shape.ElementCount];
        for (int i = 0; i < elements.Length; i++)
            elements[i] = low + (high - low) * random.NextSingle();
        return Keep(Device.From(shape, elements));
    }

    protected Tensor Empty(Shape shape) => Keep(Device.Empty(shape));

    private Tensor Keep(Tensor tensor)
    {
        _tensors.Add(tensor);
        return tensor;
    }
}
