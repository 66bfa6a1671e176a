using System.Globalization;
using System.Reflection;

namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// One operation on one case: hands out inputs and settings, checked, and collects results. Shapes are written as the
/// equations write them, such as <c>B T H Dk</c>: the first tensor with an axis of a name sets its length, and every
/// later one must agree.
/// </summary>
internal sealed partial class OperationRun : IDisposable
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
    private readonly List<CasePart> _asked = [];
    private readonly List<IDisposable> _owned = [];

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

    /// <summary>
    /// Runs an operation on a case. An input or setting that the operation does not take is an error; tensors that are neither
    /// inputs nor results are not looked at.
    /// </summary>
    /// <returns>The results <c>out.*</c>, with the operation and its settings as metadata.</returns>
    /// <exception cref="CaseException">An input or setting is missing, wrong, or not one of the operation's.</exception>
    public static SafetensorsFile Execute(Operation operation, SafetensorsFile file, Device device) =>
        Execute(operation, file, device, out _);

    /// <summary>The same, and what the operation asked the case for.</summary>
    public static SafetensorsFile Execute(Operation operation, SafetensorsFile file, Device device, out IReadOnlyList<CasePart> asked)
    {
        using var run = new OperationRun(file, device);
        asked = run._asked;
        operation.Run(run);
        run.RejectUnused(operation);
        foreach ((string key, string value) in file.Metadata)
            run._results.Metadata[key] = value;
        return run._results;
    }

    /// <summary>The input of a name, on the device.</summary>
    public Tensor Input(string name, string axes) => Find(name, axes, optional: false) ?? throw Missing(name, axes);

    /// <summary>The input of a name, on the device, or null when the case has none.</summary>
    public Tensor? OptionalInput(string name, string axes) => Find(name, axes, optional: true);

    /// <summary>The input of a name when a condition holds; without it the case must not have one.</summary>
    public Tensor? InputIf(bool condition, string name, string axes) => condition ? Input(name, axes) : null;

    /// <summary>Whole numbers (int64 in the file) on the device: tokens, targets.</summary>
    public IndexTensor Indices(string name, string axis)
    {
        string key = InputPrefix + name;
        _asked.Add(new CasePart(key, Optional: false, _case.Contains(key)));
        if (!_case.Contains(key))
            throw Missing(name, axis);
        _used.Add(key);
        Shape shape = _case.ShapeOf(key);
        Bind(key, shape, axis);
        ReadOnlySpan<long> numbers = _case.Integers(key, shape.ElementCount);
        int[] indices = new int[numbers.Length];
        for (int i = 0; i < indices.Length; i++)
        {
            indices[i] = numbers[i] is >= int.MinValue and <= int.MaxValue
                ? (int)numbers[i]
                : throw new CaseException($"'{key}' has {numbers[i]}, expected at most {int.MaxValue}.");
        }

        IndexTensor tensor = Device.FromIndices(shape, indices);
        _owned.Add(tensor);
        return tensor;
    }

    /// <summary>A tensor that starts as the input of a name, or as zero when the case has none: what results are added to.</summary>
    public Tensor Accumulator(string name, string axes) =>
        OptionalInput(name, axes) is { } before ? Own(before.Clone()) : Zeros(Shape(axes));

    /// <summary>The length of an axis that an input has set.</summary>
    public int Axis(string name) => _axes[name];

    /// <summary>The shape with these axes, all set by inputs or numbers.</summary>
    public Shape Shape(string axes) =>
        [.. axes.Split(' ').Select(a => int.TryParse(a, CultureInfo.InvariantCulture, out int n) ? n : _axes[a])];

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

    /// <summary>Adds a result that there may be.</summary>
    public void OptionalOutput(string name, Tensor? tensor)
    {
        if (tensor is not null)
            Output(name, tensor);
    }

    /// <summary>Adds a result from host memory.</summary>
    public void Output(string name, Shape shape, ReadOnlySpan<float> elements) => _results.Add(OutputPrefix + name, shape, elements);

    /// <summary>Whether the case gives a setting that it could leave out.</summary>
    public bool HasSetting(string setting) => _case.Metadata.ContainsKey(setting);

    /// <summary>A number finite in float32.</summary>
    public float Number(string setting) => (float)PreciseNumber(setting);

    /// <summary>A number finite in float32, or the default when the case does not give it.</summary>
    public float OptionalNumber(string setting, float defaultValue) => (float)ParseNumber(setting, OptionalSetting(setting), defaultValue);

    /// <summary>A number finite in float32, as it is written.</summary>
    public double PreciseNumber(string setting) => ParseNumber(setting, Setting(setting), 0);

    /// <summary>A whole number of at least 1.</summary>
    public int Count(string setting, int most = int.MaxValue) => ParseCount(setting, Setting(setting), 1, most);

    /// <summary>A whole number of at least 1, or the default when the case does not give it.</summary>
    public int OptionalCount(string setting, int defaultValue, int most = int.MaxValue) =>
        OptionalSetting(setting) is { } text ? ParseCount(setting, text, 1, most) : defaultValue;

    /// <summary>A whole number of at least 0, or 0 when the case does not give it.</summary>
    public int OptionalWhole(string setting) => OptionalSetting(setting) is { } text ? ParseCount(setting, text, 0, int.MaxValue) : 0;

    /// <summary>A whole number below 2⁶⁴, or 0 when the case does not give it.</summary>
    public ulong OptionalSeed(string setting)
    {
        if (OptionalSetting(setting) is not { } text)
            return 0;
        if (!ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong value))
            throw new CaseException($"The setting '{setting}' has '{text}', expected a whole number from 0 to {ulong.MaxValue}.");
        return value;
    }

    /// <summary>Whole numbers of at least 1, separated by commas.</summary>
    public int[] Counts(string setting) => [.. Setting(setting).Split(',').Select(part => ParseCount(setting, part, 1, int.MaxValue))];

    /// <summary>One of a few words.</summary>
    public T Choice<T>(string setting, params (string Word, T Value)[] choices)
        where T : struct =>
        Choose(setting, Setting(setting), choices);

    /// <summary>One of a few words, or the first when the case does not give it.</summary>
    public T OptionalChoice<T>(string setting, params (string Word, T Value)[] choices)
        where T : struct =>
        OptionalSetting(setting) is { } text ? Choose(setting, text, choices) : choices[0].Value;

    /// <summary>
    /// Settings with every true or false of theirs that the case gives, by its name in snake case; those that were asked for before
    /// stay as they are.
    /// </summary>
    public T Flags<T>(T settings)
        where T : struct
    {
        object boxed = settings;
        foreach (PropertyInfo property in typeof(T).GetProperties().Where(p => p.PropertyType == typeof(bool) && p.CanWrite))
        {
            string name = SnakeCase(property.Name);
            bool value = (bool)property.GetValue(boxed)!;
            if (!_used.Contains(name))
                property.SetValue(boxed, OptionalChoice(name, (Word(value), value), (Word(!value), !value)));
        }

        return (T)boxed;

        static string Word(bool value) => value ? "true" : "false";
    }

    /// <summary>Whether a setting is <c>true</c>; it is <c>false</c> when the case does not give it.</summary>
    public bool Flag(string setting) => OptionalChoice(setting, ("false", false), ("true", true));

    /// <summary>The setting <c>objective</c> of a memory.</summary>
    public MemoryObjective Objective() => Choice("objective", ("l2", MemoryObjective.L2), ("dot", MemoryObjective.DotProduct));

    /// <summary>The setting <c>read</c>: whether a query sees its own token's write.</summary>
    public ScanRead Read() => Choice("read", ("after", ScanRead.After), ("before", ScanRead.Before));

    /// <summary>The same of rules whose chunk is part of the meaning: a query may read the chunk's start too.</summary>
    public ScanRead ReadOfChunks() =>
        Choice("read", ("after", ScanRead.After), ("before", ScanRead.Before), ("chunk_start", ScanRead.ChunkStart));

    public void Dispose()
    {
        foreach (IDisposable tensor in _owned)
            tensor.Dispose();
    }

    private Tensor? Find(string name, string axes, bool optional)
    {
        string key = InputPrefix + name;
        _asked.Add(new CasePart(key, optional, _case.Contains(key)));
        if (!_case.Contains(key))
            return null;
        _used.Add(key);
        Shape shape = _case.ShapeOf(key);
        Bind(key, shape, axes);
        ReadOnlySpan<float> elements = _case.Floats(key);
        // On every backend: a GPU's operations cannot look at their inputs.
        if (name == "log_alpha" && elements.ContainsAnyInRange(float.Epsilon, float.PositiveInfinity))
            throw new CaseException($"'{key}' has a number above 0, expected at most 0: a decay α is at most 1.");
        return Own(Device.From(shape, elements));
    }

    private static CaseException Missing(string name, string axes) =>
        new($"The case has no tensor '{InputPrefix}{name}', expected [{axes.Replace(" ", ", ", StringComparison.Ordinal)}].");

    private string Setting(string name) =>
        FindSetting(name, optional: false) ?? throw new CaseException($"The case has no setting '{name}' in its metadata.");

    private string? OptionalSetting(string name) => FindSetting(name, optional: true);

    private string? FindSetting(string name, bool optional)
    {
        bool given = _case.Metadata.TryGetValue(name, out string? text);
        _used.Add(name);
        _asked.Add(new CasePart(name, optional, given));
        return text;
    }

    private T Choose<T>(string setting, string text, (string Word, T Value)[] choices)
        where T : struct
    {
        foreach ((string word, T value) in choices)
        {
            if (text == word)
            {
                _asked[^1] = _asked[^1] with { Value = value };
                return value;
            }
        }

        string allowed = string.Join(" or ", choices.Select(c => $"'{c.Word}'"));
        throw new CaseException($"The setting '{setting}' is '{text}', expected {allowed}.");
    }

    private static double ParseNumber(string setting, string? text, double defaultValue)
    {
        if (text is null)
            return defaultValue;
        if (!double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) || !float.IsFinite((float)value))
            throw new CaseException($"The setting '{setting}' is '{text}', expected a finite number.");
        return value;
    }

    private static int ParseCount(string setting, string text, int least, int most)
    {
        if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) || value < least || value > most)
        {
            string allowed = most == int.MaxValue ? $"of at least {least}" : $"from {least} to {most}";
            throw new CaseException($"The setting '{setting}' has '{text}', expected a whole number {allowed}.");
        }

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
            string known = string.Join(", ",
                names.Select(n => Known(n, out int length) ? length.ToString(CultureInfo.InvariantCulture) : n));
            throw new CaseException($"'{key}' has shape {shape}, expected [{expected}]{(known == expected ? "" : $" = [{known}]")}.");
        }

        for (int i = 0; i < names.Length; i++)
            _axes.TryAdd(names[i], shape[i]);
    }

    private bool Known(string text, out int length)
    {
        var axis = TensorAxis.Parse(text);
        bool known = _axes.TryGetValue(axis.Name, out length) || axis.Name.Length == 0;
        length = axis.Factor * length + axis.Offset;
        return known;
    }

    // LogAlpha is log_alpha in cases.
    private static string SnakeCase(string name) =>
        string.Concat(name.Select((c, i) => char.IsUpper(c) ? (i == 0 ? "" : "_") + char.ToLowerInvariant(c) : $"{c}"));

    private void RejectUnused(Operation operation)
    {
        // A tensor of another name is nobody's, unless it is an input whose prefix was forgotten.
        string[] inputs = [.. _case.Names.Where(n => !_used.Contains(n)
            && (n.StartsWith(InputPrefix, StringComparison.Ordinal) || _asked.Any(p => p.IsTensor && p.Name == InputPrefix + n)))];
        if (inputs.Length > 0)
            throw NotTaken("tensors", inputs);
        string[] settings = [.. _case.Metadata.Keys.Where(k => k is not (OperationKey or FormatKey) && !_used.Contains(k))];
        if (settings.Length > 0)
            throw NotTaken("settings", settings);

        CaseException NotTaken(string what, string[] names)
        {
            IEnumerable<string> taken = _asked.Where(p => p.IsTensor == (what == "tensors")).Select(p => p.Name).Distinct();
            return new CaseException(
                $"The case has {what} that {operation.Name} does not take: {string.Join(", ", names)}; "
                + $"it takes {string.Join(", ", taken.DefaultIfEmpty("none"))}.");
        }
    }
}

/// <summary>A tensor or setting that an operation asked a case for.</summary>
/// <param name="Name">The tensor's, with <c>in.</c>, or the setting's.</param>
/// <param name="Optional">Whether a case may lack it.</param>
/// <param name="Given">Whether the case has it.</param>
/// <param name="Value">What was chosen, where a setting is one of a few words.</param>
internal sealed record CasePart(string Name, bool Optional, bool Given, object? Value = null)
{
    public bool IsTensor => Name.StartsWith(OperationRun.InputPrefix, StringComparison.Ordinal);
}
