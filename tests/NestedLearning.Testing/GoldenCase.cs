using System.Globalization;
using Xunit;

namespace NestedLearning.Testing;

/// <summary>One golden file: inputs <c>in.*</c>, results <c>out.*</c> computed in float64, settings in its metadata.</summary>
public sealed class GoldenCase
{
    private readonly SafetensorsFile _file;

    private GoldenCase(string name, SafetensorsFile file)
    {
        Name = name;
        _file = file;
    }

    /// <summary>The file's name without its extension.</summary>
    public string Name { get; }

    /// <summary>The results' names, sorted.</summary>
    public IReadOnlyList<string> Results =>
        [.. _file.Names.Where(n => n.StartsWith("out.", StringComparison.Ordinal)).Select(n => n["out.".Length..])];

    /// <summary>The names of all golden cases of an operation, or with null of every one.</summary>
    public static IEnumerable<string> Names(string? operation = null) =>
        from path in Directory.GetFiles(SharedFiles.GoldenFolder, "*.safetensors").Order(StringComparer.Ordinal)
        where operation is null || SafetensorsFile.Load(path).Metadata["op"] == operation
        select Path.GetFileNameWithoutExtension(path);

    /// <summary>Reads a case.</summary>
    public static GoldenCase Load(string name) => new(name, SafetensorsFile.Load(SharedFiles.GoldenFile(name)));

    /// <summary>A setting.</summary>
    public string Text(string setting) => _file.Metadata[setting];

    /// <summary>Whether an optional setting is <c>true</c>.</summary>
    public bool Flag(string setting) => _file.Metadata.TryGetValue(setting, out string? text) && text == "true";

    /// <summary>The optional setting <c>phase</c>, or 0.</summary>
    public int Phase => _file.Metadata.ContainsKey("phase") ? Integer("phase") : 0;

    /// <summary>The setting <c>objective</c>.</summary>
    public MemoryObjective Objective => Text("objective") switch
    {
        "l2" => MemoryObjective.L2,
        "dot" => MemoryObjective.DotProduct,
        string other => throw new InvalidDataException($"{Name}: objective is '{other}'."),
    };

    /// <summary>A setting as a number.</summary>
    public float Number(string setting) => float.Parse(Text(setting), CultureInfo.InvariantCulture);

    /// <summary>A setting as a number in double.</summary>
    public double PreciseNumber(string setting) => double.Parse(Text(setting), CultureInfo.InvariantCulture);

    /// <summary>A setting as an integer.</summary>
    public int Integer(string setting) => int.Parse(Text(setting), CultureInfo.InvariantCulture);

    /// <summary>The setting <c>read</c>.</summary>
    public ScanRead Read => Text("read") switch
    {
        "after" => ScanRead.After,
        "before" => ScanRead.Before,
        "chunk_start" => ScanRead.ChunkStart,
        string other => throw new InvalidDataException($"{Name}: read is '{other}'."),
    };

    /// <summary>The shape of input <paramref name="name"/>.</summary>
    public Shape InputShape(string name) => _file.ShapeOf("in." + name);

    /// <summary>The elements of input <paramref name="name"/>.</summary>
    public float[] Input(string name) => _file.Floats("in." + name).ToArray();

    /// <summary>The elements of input <paramref name="name"/> in double, or null where the case has none.</summary>
    public double[]? Optional(string name) => _file.Contains("in." + name) ? Compare.ToDouble(Input(name)) : null;

    /// <summary>Input <paramref name="name"/> on a device.</summary>
    public Tensor Input(Device device, string name) => device.From(InputShape(name), _file.Floats("in." + name));

    /// <summary>The elements of result <paramref name="name"/>.</summary>
    public float[] Expected(string name) => _file.Floats("out." + name).ToArray();

    /// <summary>Fails where a result's relative error is over the golden limit.</summary>
    public void Check(string name, ReadOnlySpan<float> actual)
    {
        bool gradient = name.StartsWith('d');
        Compare.Close($"{Name}: {name}", actual, Expected(name), gradient ? Tolerances.Golden.Gradient : Tolerances.Golden.Forward);
    }

    /// <inheritdoc cref="Check(string, ReadOnlySpan{float})"/>
    public void Check(string name, Tensor actual) => Check(name, actual.ToArray());

    /// <summary>Fails where a result differs from what a float64 computation gives, which rounds it to float32 alone.</summary>
    public void CheckReference(Func<string, double[]> actual)
    {
        const double Rounding = 2e-7;
        Assert.NotEmpty(Results);
        foreach (string name in Results)
            Compare.Close($"{Name}: {name}", Expected(name), actual(name), Rounding);
    }

    /// <summary>Fails unless these are all the results the file has.</summary>
    public void HasResults(params ReadOnlySpan<string> names) =>
        Assert.Equal(names.ToArray().Order(StringComparer.Ordinal), Results);
}
