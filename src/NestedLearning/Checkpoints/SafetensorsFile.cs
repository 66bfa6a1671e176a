using System.Diagnostics.CodeAnalysis;

namespace NestedLearning;

/// <summary>
/// The contents of a safetensors file: named tensors (F32, I64) and string metadata, in host memory. BF16 and F16 tensors of
/// files from elsewhere are read as F32, which holds all their numbers.
/// <para>
/// Files written here carry a checksum over every byte, header and data, in their metadata; it belongs to the file and
/// is not among <see cref="Metadata"/>. Files from elsewhere have none and load all the same, unless one is required.
/// </para>
/// </summary>
public sealed class SafetensorsFile
{
    /// <summary>The metadata key under which files keep their CRC-32C, as eight hexadecimal digits.</summary>
    public const string ChecksumKey = "nested_learning.crc32c";

    /// <summary>The header's own key, which no tensor can have as its name.</summary>
    internal const string MetadataKey = "__metadata__";

    /// <summary>Headers over this many bytes are neither written nor read, as in the reference implementation.</summary>
    internal const int MaxHeader = 100_000_000;

    private readonly SortedDictionary<string, SafetensorsEntry> _entries = new(StringComparer.Ordinal);

    /// <summary>The <c>__metadata__</c> of the file.</summary>
    public IDictionary<string, string> Metadata { get; } = new SortedDictionary<string, string>(StringComparer.Ordinal);

    /// <summary>The names of all tensors, sorted by their characters' code.</summary>
    public IReadOnlyCollection<string> Names => _entries.Keys;

    internal IReadOnlyDictionary<string, SafetensorsEntry> Entries => _entries;

    /// <summary>Whether a tensor has this name.</summary>
    public bool Contains(string name) => _entries.ContainsKey(name);

    /// <summary>Adds a float32 tensor; the elements are copied.</summary>
    /// <exception cref="ArgumentException">The name is taken or reserved, or the numbers of elements differ.</exception>
    public void Add(string name, Shape shape, ReadOnlySpan<float> elements)
    {
        CheckName(name);
        if (elements.Length != shape.ElementCount)
            throw new ArgumentException($"'{name}' of shape {shape} has {shape.ElementCount} elements, got {elements.Length}.",
                nameof(elements));
        _entries.Add(name, new SafetensorsEntry(shape, elements.ToArray()));
    }

    /// <summary>Adds a tensor with its elements, copied out of its device.</summary>
    /// <exception cref="ArgumentException">The name is taken or reserved.</exception>
    public void Add(string name, Tensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        CheckName(name);
        _entries.Add(name, new SafetensorsEntry(tensor.Shape, tensor.ToArray()));
    }

    /// <summary>Adds a vector of 64-bit integers: clocks, counters, positions.</summary>
    /// <exception cref="ArgumentException">The name is taken or reserved.</exception>
    public void Add(string name, ReadOnlySpan<long> elements)
    {
        CheckName(name);
        _entries.Add(name, new SafetensorsEntry([elements.Length], elements.ToArray()));
    }

    /// <summary>The shape of a tensor.</summary>
    /// <exception cref="CheckpointException">There is no such tensor.</exception>
    public Shape ShapeOf(string name) => Find(name).Shape;

    /// <summary>Whether a tensor is float32, else it is int64.</summary>
    /// <exception cref="CheckpointException">There is no such tensor.</exception>
    public bool HoldsFloats(string name) => Find(name).Data is float[];

    /// <summary>The elements of a float32 tensor.</summary>
    /// <exception cref="CheckpointException">There is no such tensor, or it is not float32.</exception>
    public ReadOnlySpan<float> Floats(string name) => Find(name).Data as float[] ?? ThrowType<float>(name, "I64", "F32");

    /// <summary>The elements of a float32 tensor of a known shape.</summary>
    /// <exception cref="CheckpointException">There is no such tensor, it is not float32, or its shape is another.</exception>
    public ReadOnlySpan<float> Floats(string name, Shape shape)
    {
        ReadOnlySpan<float> elements = Floats(name);
        CheckShape(name, shape);
        return elements;
    }

    /// <summary>The elements of an int64 tensor of a known length.</summary>
    /// <exception cref="CheckpointException">There is no such tensor, it is not int64, or its length is another.</exception>
    public ReadOnlySpan<long> Integers(string name, int length)
    {
        long[] elements = Find(name).Data as long[] ?? ThrowType<long>(name, "F32", "I64");
        CheckShape(name, [length]);
        return elements;
    }

    /// <summary>
    /// Writes the file as a whole or not at all, as <see cref="SafeFile"/> does: when that fails, what was at the path is as it
    /// was. The same contents make the same bytes.
    /// </summary>
    /// <exception cref="ArgumentException">The metadata uses <see cref="ChecksumKey"/> or has a null, or a name is not valid
    /// Unicode.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public void Save(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        SafetensorsWriter.Write(this, path);
    }

    /// <summary>Reads and checks a whole file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="requireChecksum">
    /// Whether a file without the checksum that <see cref="Save"/> writes is refused. One that has it is always checked.
    /// </param>
    /// <exception cref="CheckpointException">
    /// The file is not a well-formed safetensors file of F32, BF16, F16 and I64 tensors, or its checksum does not agree.
    /// </exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
    public static SafetensorsFile Load(string path, bool requireChecksum = false)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return SafetensorsReader.Read(path, requireChecksum);
    }

    internal void Add(string name, SafetensorsEntry entry) => _entries.Add(name, entry);

    private void CheckName(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (name == MetadataKey)
            throw new ArgumentException($"'{name}' is reserved and cannot name a tensor.", nameof(name));
        if (_entries.ContainsKey(name))
            throw new ArgumentException($"There is already a tensor '{name}'.", nameof(name));
    }

    private SafetensorsEntry Find(string name) =>
        _entries.TryGetValue(name, out SafetensorsEntry? entry) ? entry : throw new CheckpointException($"There is no tensor '{name}'.");

    private void CheckShape(string name, Shape expected)
    {
        Shape actual = Find(name).Shape;
        if (actual != expected)
            throw new CheckpointException($"Tensor '{name}' has shape {actual}, expected {expected}.");
    }

    [DoesNotReturn]
    private static T[] ThrowType<T>(string name, string actual, string expected) =>
        throw new CheckpointException($"Tensor '{name}' is {actual}, expected {expected}.");
}
