using System.Globalization;

namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// One operation on one case: hands out inputs and settings, checked, and collects results. Shapes are written as the
/// equations write them, such as <c>B T H Dk</c>: the first tensor with an axis of a name sets its length, and every
/// later one must agree.
/// </summary>
internal sealed class OperationRun : IDisposable
{
    public const string InputPrefix = "in.";
    public const string OutputPrefix = "out.";
    public const string OperationKey = "op";

    // Some writers put their array library's name here.
    private const string FormatKey = "format";

    private readonly SafetensorsFile _case;
    private readonly SafetensorsFile _results = new();
    private readonly Dictionary<string, int> _axes = new(StringComparer.Ordinal);
    private readonly HashSet<string> _used = new(StringComparer.Ordinal);
    private readonly List<Tensor> _owned = [];

    private OperationRun(SafetensorsFile file, Device device)
    {
        _case = file;
        Device = device;
    }

    /// <summary>Where the operation runs.</summary>
    public Device Device { get; }

    /// <summary>The operation named by a case's metadata, in the words of the file.</summary>
    /// <exception cref="CaseException">The case names none.</exception>
    public static string OperationName(SafetensorsFile file) =>
        file.Metadata.TryGetValue(OperationKey, out string? name)
            ? name
            : throw new CaseException($"The case has no '{OperationKey}' in its metadata.");

    /// <summary>Runs an operation on a case. Nothing of the case is ignored: what the operation does not take is an error.</summary>
    /// <returns>The results <c>out.*</c>, with the operation and its settings as metadata.</returns>
    /// <exception cref="CaseException">An input or setting is missing, wrong, or not one of the operation's.</exception>
    public static SafetensorsFile Execute(Operation operation, SafetensorsFile file, Device device)
    {
        using var run = new OperationRun(file, device);
        operation.Run(run);
        run.RejectUnused(operation);
        foreach ((string key, string value) in file.Metadata)
            run._results.Metadata[key] = value;
        return run._results;
    }

    /// <summary>The input of a name, on the device.</summary>
    public Tensor Input(string name, string axes) => OptionalInput(name, axes)
        ?? throw new CaseException($"The case has no tensor '{InputPrefix}{name}', expected [{axes.Replace(" ", ", ", StringComparison.Ordinal)}].");

    /// <summary>The input of a name, on the device, or null when the case has none.</summary>
    public Tensor? OptionalInput(string name, string axes)
    {
        string key = InputPrefix + name;
        if (!_case.Contains(key))
            return null;
        _used.Add(key);
        Shape shape = _case.ShapeOf(key);
        Bind(key, shape, axes);
        return Own(Device.From(shape, _case.Floats(key)));
    }

    /// <summary>The length of an axis that an input has set.</summary>
    public int Axis(string name) => _axes[name];

    /// <summary>The shape with these axes, all set by inputs or numbers.</summary>
    public Shape Shape(string axes) => [.. axes.Split(' ').Select(a => int.TryParse(a, CultureInfo.InvariantCulture, out int n) ? n : _axes[a])];

    /// <summary>A tensor with undefined contents that lives as long as this run.</summary>
    public Tensor Empty(Shape shape) => Own(Device.Empty(shape));

    /// <summary>A tensor of zeros that lives as long as this run.</summary>
    public Tensor Zeros(Shape shape) => Own(Device.Zeros(shape));

    /// <summary>Makes a tensor live as long as this run.</summary>
    public Tensor Own(Tensor tensor)
    {
        _owned.Add(tensor);
        return tensor;
    }

    /// <summary>Adds a result.</summary>
    public void Output(string name, Tensor tensor) => _results.Add(OutputPrefix + name, tensor);

    /// <summary>Adds a result from host memory.</summary>
    public void Output(string name, Shape shape, ReadOnlySpan<float> elements) => _results.Add(OutputPrefix + name, shape, elements);

    /// <summary>A number finite in float32.</summary>
    public float Number(string setting) => (float)PreciseNumber(setting);

    /// <summary>A number finite in float32, as it is written.</summary>
    public double PreciseNumber(string setting)
    {
        string text = Setting(setting);
        if (!double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) || !float.IsFinite((float)value))
            throw new CaseException($"The setting '{setting}' is '{text}', expected a finite number.");
        return value;
    }

    /// <summary>A whole number of at least 1.</summary>
    public int Count(string setting, int most = int.MaxValue) => ParseCount(setting, Setting(setting), most);

    /// <summary>A whole number of at least 1, or the default when the case does not give it.</summary>
    public int OptionalCount(string setting, int defaultValue, int most = int.MaxValue) =>
        _case.Metadata.ContainsKey(setting) ? Count(setting, most) : defaultValue;

    /// <summary>Whole numbers of at least 1, separated by commas.</summary>
    public int[] Counts(string setting) => [.. Setting(setting).Split(',').Select(part => ParseCount(setting, part, int.MaxValue))];

    /// <summary>One of a few words.</summary>
    public T Choice<T>(string setting, params (string Word, T Value)[] choices)
    {
        string text = Setting(setting);
        foreach ((string word, T value) in choices)
        {
            if (text == word)
                return value;
        }

        throw new CaseException($"The setting '{setting}' is '{text}', expected {string.Join(" or ", choices.Select(c => $"'{c.Word}'"))}.");
    }

    /// <summary>The setting <c>read</c>: whether a query sees its own token's write.</summary>
    public ScanRead Read() => Choice("read", ("after", ScanRead.After), ("before", ScanRead.Before));

    /// <summary>The same of rules whose chunk is part of the meaning: a query may read the chunk's start too.</summary>
    public ScanRead ReadOfChunks() => Choice("read", ("after", ScanRead.After), ("before", ScanRead.Before), ("chunk_start", ScanRead.ChunkStart));

    public void Dispose()
    {
        foreach (Tensor tensor in _owned)
            tensor.Dispose();
    }

    private string Setting(string name)
    {
        _used.Add(name);
        return _case.Metadata.TryGetValue(name, out string? text)
            ? text
            : throw new CaseException($"The case has no setting '{name}' in its metadata.");
    }

    private static int ParseCount(string setting, string text, int most)
    {
        if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) || value < 1 || value > most)
            throw new CaseException($"The setting '{setting}' has '{text}', expected a whole number {(most == int.MaxValue ? "of at least 1" : $"from 1 to {most}")}.");
        return value;
    }

    private void Bind(string key, Shape shape, string axes)
    {
        string[] names = axes.Split(' ');
        bool fits = shape.Rank == names.Length;
        for (int i = 0; fits && i < names.Length; i++)
            fits = !Known(names[i], out int length) || shape[i] == length;
        if (!fits)
        {
            string expected = string.Join(", ", names);
            string known = string.Join(", ", names.Select(n => Known(n, out int length) ? length.ToString(CultureInfo.InvariantCulture) : n));
            throw new CaseException($"'{key}' has shape {shape}, expected [{expected}]{(known == expected ? "" : $" = [{known}]")}.");
        }

        for (int i = 0; i < names.Length; i++)
            _axes.TryAdd(names[i], shape[i]);
    }

    private bool Known(string axis, out int length) =>
        int.TryParse(axis, CultureInfo.InvariantCulture, out length) || _axes.TryGetValue(axis, out length);

    private void RejectUnused(Operation operation)
    {
        string[] inputs = [.. _case.Names.Where(n => !n.StartsWith(OutputPrefix, StringComparison.Ordinal) && !_used.Contains(n))];
        if (inputs.Length > 0)
            throw new CaseException($"The case has tensors that {operation.Name} does not take: {string.Join(", ", inputs)}.");
        string[] settings = [.. _case.Metadata.Keys.Where(k => k is not (OperationKey or FormatKey) && !_used.Contains(k))];
        if (settings.Length > 0)
            throw new CaseException($"The case has settings that {operation.Name} does not take: {string.Join(", ", settings)}.");
    }
}
