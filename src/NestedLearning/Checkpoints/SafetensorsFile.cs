using System.Runtime.InteropServices;

namespace NestedLearning;

/// <summary>
/// The contents of a safetensors file: named tensors and string metadata, in host memory. Tensors made here are F32, F64 or I64.
/// Files from elsewhere open whatever their tensors' types, shapes and order: a tensor is kept as it is, becomes float32 or int64
/// when it is asked for, and only then has to have such a form. Written again it is what it was.
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

    /// <summary>Adds a float64 tensor; the elements are copied.</summary>
    /// <exception cref="ArgumentException">The name is taken or reserved, or the numbers of elements differ.</exception>
    public void AddDoubles(string name, Shape shape, ReadOnlySpan<double> elements)
    {
        CheckName(name);
        if (elements.Length != shape.ElementCount)
            throw new ArgumentException($"'{name}' of shape {shape} has {shape.ElementCount} elements, got {elements.Length}.",
                nameof(elements));
        _entries.Add(name, new SafetensorsEntry(shape, MemoryMarshal.Cast<double, ulong>(elements).ToArray()));
    }

    /// <summary>Adds a vector of 64-bit integers: clocks, counters, positions.</summary>
    /// <exception cref="ArgumentException">The name is taken or reserved.</exception>
    public void Add(string name, ReadOnlySpan<long> elements)
    {
        CheckName(name);
        _entries.Add(name, new SafetensorsEntry([elements.Length], elements.ToArray()));
    }

    /// <summary>The shape of a tensor.</summary>
    /// <exception cref="CheckpointException">There is no such tensor, or it has more axes or elements than a shape can.</exception>
    public Shape ShapeOf(string name) => Find(name).ShapeOf(name);

    /// <summary>The element type of a tensor as files spell it, such as <c>F32</c>, <c>BOOL</c> or <c>F8_E4M3</c>.</summary>
    /// <exception cref="CheckpointException">There is no such tensor.</exception>
    public string TypeOf(string name) => Find(name).Type.Name;

    /// <summary>Whether a tensor's type is F32, F64, F16 or BF16: floating-point numbers that <see cref="Floats(string)"/> gives.</summary>
    /// <exception cref="CheckpointException">There is no such tensor.</exception>
    public bool HoldsFloats(string name) => Find(name).Type.IsFloat;

    /// <summary>
    /// The elements of a tensor as float32. F16 and BF16 are float32 numbers already. F64 is rounded to the nearest, of two that
    /// are as near to the even one, and infinite or NaN where it was. Integers are exact: one that float32 does not have, which
    /// are some of those beyond 2²⁴, is refused, as is an F64 number beyond float32's range. No other type has a float32 form; of
    /// those with 8 bits and fewer the numbers mean nothing without scales that stand elsewhere.
    /// </summary>
    /// <exception cref="CheckpointException">There is no such tensor, or its elements have no float32 form; the message names the
    /// tensor, its type and the number.</exception>
    public ReadOnlySpan<float> Floats(string name) => Find(name).Floats(name);

    /// <summary>The elements of a tensor of a known shape as float32, by the same rule.</summary>
    /// <exception cref="CheckpointException">There is no such tensor, its elements have no float32 form, or its shape is
    /// another.</exception>
    public ReadOnlySpan<float> Floats(string name, Shape shape)
    {
        ReadOnlySpan<float> elements = Floats(name);
        CheckShape(name, shape);
        return elements;
    }

    /// <summary>The elements of an F64 tensor of a known shape as they are; no other type has them.</summary>
    /// <exception cref="CheckpointException">There is no such tensor, it is not F64, or its shape is another.</exception>
    public ReadOnlySpan<double> Doubles(string name, Shape shape)
    {
        ulong[] bits = Find(name).DoubleBits(name);
        CheckShape(name, shape);
        return MemoryMarshal.Cast<ulong, double>(bits.AsSpan());
    }

    /// <summary>The elements of a vector of integers of a known length, of any type of integers.</summary>
    /// <exception cref="CheckpointException">There is no such tensor, it does not hold integers of 64 bits and a sign, or its length is
    /// another.</exception>
    public ReadOnlySpan<long> Integers(string name, int length)
    {
        long[] elements = Find(name).Integers(name);
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
        SafeFile.Write(path, SafetensorsWriter.Prepare(this));
    }

    /// <summary>The bytes that <see cref="Save"/> writes.</summary>
    internal byte[] ToBytes()
    {
        using var stream = new MemoryStream();
        SafetensorsWriter.Prepare(this)(stream);
        return stream.ToArray();
    }

    /// <summary>Reads and checks a whole file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="requireChecksum">
    /// Whether a file without the checksum that <see cref="Save"/> writes is refused. One that has it is always checked.
    /// </param>
    /// <exception cref="CheckpointException">
    /// The file is not a well-formed safetensors file, or its checksum does not agree.
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
        Shape actual = ShapeOf(name);
        if (actual != expected)
            throw new CheckpointException($"Tensor '{name}' has shape {actual}, expected {expected}.");
    }
}
