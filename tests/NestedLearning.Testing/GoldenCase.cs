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

    /// <summary>Reads a case; the test is skipped where the golden files are absent.</summary>
    public static GoldenCase Load(string name) => new(name, SafetensorsFile.Load(SharedFiles.Golden(name)));

    /// <summary>A setting.</summary>
    public string Text(string setting) => _file.Metadata[setting];

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
        string other => throw new InvalidDataException($"{Name}: read is '{other}'."),
    };

    /// <summary>The shape of input <paramref name="name"/>.</summary>
    public Shape InputShape(string name) => _file.ShapeOf("in." + name);

    /// <summary>The elements of input <paramref name="name"/>.</summary>
    public float[] Input(string name) => _file.Floats("in." + name).ToArray();

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

    /// <summary>Fails unless these are all the results the file has.</summary>
    public void HasResults(params ReadOnlySpan<string> names) =>
        Assert.Equal(names.ToArray().Select(n => "out." + n).Order(StringComparer.Ordinal), _file.Names.Where(n => n.StartsWith("out.", StringComparison.Ordinal)));
}
