namespace NestedLearning;

/// <summary>A checkpoint cannot be read, or does not fit what it is loaded into.</summary>
public sealed class CheckpointException : Exception
{
    /// <summary>An exception with this message.</summary>
    public CheckpointException(string message)
        : base(message)
    {
    }

    /// <summary>An exception with this message and cause.</summary>
    public CheckpointException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }

    /// <summary>An exception without further words.</summary>
    public CheckpointException()
    {
    }
}

/// <summary>
/// The contents of a safetensors file: named tensors (F32, I64) and string metadata, in host memory.
/// </summary>
public sealed class SafetensorsFile
{
    private readonly SortedDictionary<string, (Shape Shape, Array Data)> _entries = new(StringComparer.Ordinal);

    /// <summary>The <c>__metadata__</c> of the file.</summary>
    public IDictionary<string, string> Metadata { get; } = new SortedDictionary<string, string>(StringComparer.Ordinal);

    /// <summary>The names of all tensors, sorted by their characters' code.</summary>
    public IReadOnlyCollection<string> Names => _entries.Keys;

    /// <summary>Whether a tensor has this name.</summary>
    public bool Contains(string name) => _entries.ContainsKey(name);

    /// <summary>Adds a float32 tensor; the elements are copied.</summary>
    /// <exception cref="ArgumentException">The name is taken, or the numbers of elements differ.</exception>
    public void Add(string name, Shape shape, ReadOnlySpan<float> elements) => throw new NotImplementedException();

    /// <summary>Adds a tensor with its elements, copied out of its device.</summary>
    public void Add(string name, Tensor tensor) => throw new NotImplementedException();

    /// <summary>Adds a vector of 64-bit integers: clocks, counters, positions.</summary>
    public void Add(string name, ReadOnlySpan<long> elements) => throw new NotImplementedException();

    /// <summary>The shape of a tensor.</summary>
    /// <exception cref="CheckpointException">There is no such tensor.</exception>
    public Shape ShapeOf(string name) => throw new NotImplementedException();

    /// <summary>The elements of a float32 tensor.</summary>
    /// <exception cref="CheckpointException">There is no such tensor, or it is not float32.</exception>
    public ReadOnlySpan<float> Floats(string name) => throw new NotImplementedException();

    /// <summary>The elements of a float32 tensor of a known shape.</summary>
    /// <exception cref="CheckpointException">There is no such tensor, it is not float32, or its shape is another.</exception>
    public ReadOnlySpan<float> Floats(string name, Shape shape) => throw new NotImplementedException();

    /// <summary>The elements of an int64 tensor of a known length.</summary>
    /// <exception cref="CheckpointException">There is no such tensor, it is not int64, or its length is another.</exception>
    public ReadOnlySpan<long> Integers(string name, int length) => throw new NotImplementedException();

    /// <summary>Writes to a temporary file beside the path, flushes it to the disk, and renames it over the path.</summary>
    public void Save(string path) => throw new NotImplementedException();

    /// <summary>Reads and checks a whole file.</summary>
    /// <exception cref="CheckpointException">The file is not a well-formed safetensors file of F32 and I64 tensors.</exception>
    public static SafetensorsFile Load(string path) => throw new NotImplementedException();
}
