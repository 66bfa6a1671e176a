namespace NestedLearning.CommandLine.Bench;

/// <summary>The tensors of one case by name. Their contents are the same in every run.</summary>
internal sealed class BenchTensors(Device device) : IDisposable
{
    private readonly Dictionary<string, Tensor> _tensors = [];
    private readonly Dictionary<string, IndexTensor> _indices = [];
    private readonly List<IDisposable> _owned = [];

    public Device Device => device;

    public Tensor this[string name] => _tensors[name];

    public ReadOnlySpan<int> Indices(string name) => _indices[name].Span;

    /// <summary>Numbers uniform between two bounds.</summary>
    public Tensor Uniform(string name, Shape shape, float low = -1, float high = 1)
    {
        float[] elements = new float[shape.ElementCount];
        new CounterRandom(seed: 1, stream: (ulong)_tensors.Count).FillUniform(elements, low, high);
        return _tensors[name] = device.From(shape, elements);
    }

    public Tensor Zeros(string name, Shape shape) => _tensors[name] = device.Zeros(shape);

    /// <summary>The elements of another, copied on the device.</summary>
    public Tensor Copy(string name, Tensor source) => _tensors[name] = source.Clone();

    /// <summary>Disposes something else with the tensors.</summary>
    public T Own<T>(T item)
        where T : IDisposable
    {
        _owned.Add(item);
        return item;
    }

    /// <summary>The first thing of a type that was given to <see cref="Own"/>.</summary>
    public T Owned<T>() => _owned.OfType<T>().First();

    /// <summary>Integers uniform from 0 to below a bound.</summary>
    public IndexTensor Below(string name, Shape shape, int bound)
    {
        var random = new CounterRandom(seed: 2);
        int[] elements = new int[shape.ElementCount];
        for (int i = 0; i < elements.Length; i++)
            elements[i] = random.Below((ulong)i, bound);
        return _indices[name] = device.FromIndices(shape, elements);
    }

    public void Dispose()
    {
        foreach (IDisposable item in _owned)
            item.Dispose();
        foreach (Tensor tensor in _tensors.Values)
            tensor.Dispose();
        foreach (IndexTensor tensor in _indices.Values)
            tensor.Dispose();
    }
}
