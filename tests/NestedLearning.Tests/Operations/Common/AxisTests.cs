using System.Globalization;
using System.Reflection;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>
/// Every operation of the seam with each of its axes 0 and 1 long, and pairs of them: the result is an empty sum, or an error that
/// is the same on every backend; never anything that was not written, and never the end of the process.
/// </summary>
public abstract class AxisTests(string backend) : BackendTests(backend)
{
    // What moves, makes or holds memory is tested with tensors.
    private static readonly string[] s_copies = ["Allocate", "Upload", "Download", "Copy", "Fill", "Dispose"];

    /// <summary>Operation and the lengths that differ from its ordinary ones, as in <c>Dk=0 Dv=1</c>.</summary>
    public static TheoryData<string, string> Cases() => Cases(pairs: true);

    /// <summary>The same, with pairs of axes or one axis at a time.</summary>
    protected static TheoryData<string, string> Cases(bool pairs)
    {
        var data = new TheoryData<string, string>();
        foreach (AxisOperation operation in AxisOperations.All)
        {
            string[] axes = [.. operation.Lengths.Keys];
            data.Add(operation.Name, string.Join(' ', axes.Select(a => $"{a}=0")));
            data.Add(operation.Name, string.Join(' ', axes.Select(a => $"{a}=1")));
            for (int i = 0; i < axes.Length; i++)
            {
                data.Add(operation.Name, $"{axes[i]}=0");
                data.Add(operation.Name, $"{axes[i]}=1");
                for (int j = 0; pairs && j < axes.Length; j++)
                {
                    if (i < j)
                        data.Add(operation.Name, $"{axes[i]}=0 {axes[j]}=0");
                    if (i != j)
                        data.Add(operation.Name, $"{axes[i]}=0 {axes[j]}=1");
                }
            }
        }

        return data;
    }

    [Fact]
    public void Operations_AreTheSeams()
    {
        IEnumerable<string> seam = typeof(Backend)
            .GetMethods(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly)
            .Where(m => m.IsAbstract && !m.IsSpecialName && !s_copies.Contains(m.Name)).Select(m => m.Name);
        Assert.Equal(seam.Distinct().Order(StringComparer.Ordinal),
            AxisOperations.All.SelectMany(o => o.Seam.Split(' ')).Distinct().Order(StringComparer.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void ShortAxes_GiveTheSameOnEveryBackend(string operation, string lengths)
    {
        using var managed = Device.Open("managed");
        AxisOperation tested = AxisOperations.All.Single(o => o.Name == operation);
        using AxisRun expected = new(managed, tested, lengths), actual = new(Device, tested, lengths);
        ArgumentException? error = Refused(tested, expected);
        Assert.Equal(error?.Message, Refused(tested, actual)?.Message);
        if (error is not null)
            return;
        foreach ((AxisResult result, AxisResult other) in expected.Results.Zip(actual.Results))
        {
            float[] elements = other.Elements();
            Compare.Finite(result.Name, elements);
            Compare.Close(result.Name, elements, result.Elements(), Tolerances.Golden.Gradient);
        }
    }

    /// <summary>One more of an axis that is summed over, all zeros, changes nothing; so none of it is a sum of nothing.</summary>
    [LargeTheory]
    [MemberData(nameof(Cases))]
    public void OneMoreZero_ChangesNoSum(string operation, string lengths)
    {
        AxisOperation tested = AxisOperations.All.Single(o => o.Name == operation);
        using AxisRun plain = new(Device, tested, lengths);
        if (Refused(tested, plain) is not null)
            return;
        foreach (string axis in tested.Summed.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            using AxisRun padded = new(Device, tested, lengths, axis);
            if (Refused(tested, padded) is not null)
                continue;
            foreach ((AxisResult few, AxisResult more) in plain.Results.Zip(padded.Results))
            {
                if (!few.Axes.Contains(axis))
                    Compare.Close($"{few.Name} with one more {axis}", few.Elements(), more.Elements(), Tolerances.Golden.Gradient);
            }
        }
    }

    private static ArgumentException? Refused(AxisOperation operation, AxisRun run)
    {
        try
        {
            operation.Run(run);
            Assert.NotEmpty(run.Results);
            return null;
        }
        catch (ArgumentException e)
        {
            return e;
        }
    }
}

/// <summary>An operation with names and ordinary lengths for its axes.</summary>
/// <param name="Name">Of the test.</param>
/// <param name="Seam">The operations of the seam that it calls.</param>
/// <param name="Lengths">Of its axes.</param>
/// <param name="Summed">Axes along which a zero more changes no result that lacks the axis.</param>
/// <param name="Run">Runs it.</param>
internal sealed record AxisOperation(string Name, string Seam, IReadOnlyDictionary<string, int> Lengths, string Summed,
    Action<AxisRun> Run)
{
    /// <summary>Of a memory, the states before its tokens and after them.</summary>
    public IReadOnlyList<(string Before, string After)>? States { get; init; }

    public static IReadOnlyDictionary<string, int> Parse(string lengths) => lengths
        .Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split('='))
        .ToDictionary(l => l[0], l => int.Parse(l[1], CultureInfo.InvariantCulture), StringComparer.Ordinal);
}

/// <summary>A result: its axes, and others that it depends on as on its own.</summary>
internal sealed record AxisResult(string Name, string[] Axes, Func<float[]> Elements);

/// <summary>One run of an operation. An element depends on its place alone, whatever the lengths of the axes.</summary>
internal sealed class AxisRun : IDisposable
{
    private readonly Dictionary<string, int> _lengths;
    private readonly string? _padded;
    private readonly List<IDisposable> _owned = [];
    private ulong _inputs;

    /// <param name="device">Where it runs.</param>
    /// <param name="operation">What runs.</param>
    /// <param name="lengths">Those that are not ordinary.</param>
    /// <param name="padded">An axis that gets one more, of zeros.</param>
    public AxisRun(Device device, AxisOperation operation, string lengths, string? padded = null)
    {
        Device = device;
        _padded = padded;
        _lengths = new(operation.Lengths, StringComparer.Ordinal);
        foreach ((string axis, int length) in AxisOperation.Parse(lengths))
            _lengths[axis] = length;
        if (padded is not null)
            _lengths[padded]++;
    }

    public Device Device { get; }

    /// <summary>The tensor, counted from 0 as they are made, that is disposed before the operation gets it; −1: none.</summary>
    public int Disposed { get; init; } = -1;

    /// <summary>How many tensors were made.</summary>
    public int Made { get; private set; }

    public List<AxisResult> Results { get; } = [];

    public int Length(string axis) => _lengths[axis];

    public void Set(string axis, int length) => _lengths[axis] = length;

    public Shape Shape(string axes) => [.. axes.Split(' ').Select(LengthOf)];

    public Tensor In(string axes, float low = -1, float high = 1)
    {
        var random = new CounterRandom(11, _inputs++);
        return Own(Device.From(Shape(axes), Elements(axes, place => low + (high - low) * random.Uniform(place))));
    }

    public Tensor Changed(string name, string axes, float low = -1, float high = 1)
    {
        Tensor tensor = In(axes, low, high);
        Results.Add(new AxisResult(name, axes.Split(' '), tensor.ToArray));
        return tensor;
    }

    /// <summary>Where a result goes; depends: axes that it lacks and that yet count one by one.</summary>
    public Tensor Out(string name, string axes, string depends = "")
    {
        Tensor tensor = Own(Device.Full(Shape(axes), float.NaN));
        Results.Add(new AxisResult(name, $"{axes} {depends}".Split(' '), tensor.ToArray));
        return tensor;
    }

    public IndexTensor Indices(string axes, int low, int high)
    {
        var random = new CounterRandom(12, _inputs++);
        float[] places = Elements(axes, place => low + random.Below(place, Math.Max(1, high - low)));
        IndexTensor tensor = Device.FromIndices(Shape(axes), Array.ConvertAll(places, p => (int)p));
        _owned.Add(tensor);
        if (Made++ == Disposed)
            tensor.Dispose();
        return tensor;
    }

    public Tensor Own(Tensor tensor)
    {
        _owned.Add(tensor);
        if (Made++ == Disposed)
            tensor.Dispose();
        return tensor;
    }

    public void Dispose()
    {
        foreach (IDisposable tensor in _owned)
            tensor.Dispose();
    }

    private int LengthOf(string axis)
    {
        var parsed = TensorAxis.Parse(axis);
        return parsed.Name.Length == 0 ? parsed.Offset : parsed.Factor * _lengths[parsed.Name] + parsed.Offset;
    }

    private float[] Elements(string axes, Func<ulong, float> value)
    {
        string[] names = axes.Split(' ');
        int[] lengths = [.. names.Select(LengthOf)];
        float[] elements = new float[Shape(axes).ElementCount];
        for (int i = 0; i < elements.Length; i++)
        {
            ulong place = 0;
            bool padding = false;
            for (int axis = 0, rest = i, below = elements.Length; axis < names.Length; axis++)
            {
                below /= lengths[axis];
                int at = rest / below;
                rest %= below;
                place = place * 64 + (ulong)at;
                padding |= names[axis] == _padded && at == lengths[axis] - 1;
            }

            elements[i] = padding ? 0 : value(place);
        }

        return elements;
    }
}

public sealed class ManagedAxisTests() : AxisTests("managed")
{
    /// <summary>A memory that reads no token is as it was, with its momentum and the state its chunk began with.</summary>
    [Theory]
    [InlineData("managed")]
    [InlineData("cpu")]
    public void NoTokens_KeepEveryState(string backend)
    {
        using var device = Device.Open(backend);
        foreach (AxisOperation operation in AxisOperations.All.Where(o => o.States is not null))
        {
            using AxisRun run = new(device, operation, "T=0");
            operation.Run(run);
            foreach ((string before, string after) in operation.States!)
                Compare.SameBits($"{operation.Name}: {after}", Result(run, after), Result(run, before));
        }

        static float[] Result(AxisRun run, string name) => run.Results.Single(r => r.Name == name).Elements();
    }
}

public sealed class CpuAxisTests() : AxisTests("cpu");
