using Xunit;

namespace NestedLearning.Testing;

/// <summary>
/// Base of an operation's shared suite. The suite is an abstract class with the tests; one thin class a backend names
/// the backend:
/// <code>
/// public abstract class GemmTests(string backend) : BackendTests(backend) { [Fact] ... }
/// public sealed class ManagedGemmTests() : GemmTests("managed");
/// public sealed class CpuGemmTests() : GemmTests("cpu");
/// </code>
/// A backend is present or declared absent by its own probe. Where it is absent its tests are skipped with the probe's
/// reason; with <c>NESTED_LEARNING_REQUIRE_NATIVE=1</c> (<c>cpu</c>), <c>NESTED_LEARNING_REQUIRE_OPENCL=1</c>
/// (<c>opencl</c>) or <c>NESTED_LEARNING_REQUIRE_CUDA=1</c> (<c>cuda</c>) they fail instead.
/// </summary>
public abstract class BackendTests : IDisposable
{
    /// <summary>Set to 1 where the native library must be there: its absence is then a failure.</summary>
    public const string RequireVariable = "NESTED_LEARNING_REQUIRE_NATIVE";

    /// <summary>The same for a device of CUDA.</summary>
    public const string RequireCudaVariable = "NESTED_LEARNING_REQUIRE_CUDA";

    private const string RequireOpenClVariable = "NESTED_LEARNING_REQUIRE_OPENCL";

    private readonly List<Tensor> _tensors = [];

    /// <summary>
    /// Backends that open here and whose tests lack something all the same, with the reason for skipping them. A test project
    /// fills it in before its first test.
    /// </summary>
    public static Dictionary<string, string> Untestable { get; } = [];

    /// <summary>Opens the backend, or skips the test.</summary>
    protected BackendTests(string backend)
    {
        BackendReport report = Device.Probe().SingleOrDefault(r => r.Name == backend)
            ?? throw new InvalidOperationException($"No backend '{backend}' is registered.");
        if (!report.Available)
        {
            string variable = backend switch { "opencl" => RequireOpenClVariable, "cuda" => RequireCudaVariable, _ => RequireVariable };
            if (Environment.GetEnvironmentVariable(variable) == "1")
                Assert.Fail($"{variable} is 1, but backend '{backend}' is absent: {report.Detail}");
            Assert.Skip($"Backend '{backend}' is absent: {report.Detail}");
        }

        if (Untestable.TryGetValue(backend, out string? reason))
            Assert.Skip($"Backend '{backend}' cannot be tested: {reason}");
        Device = Device.Open(backend);
        Assert.Equal(backend, Device.Name);
    }

    /// <summary>The device under test; its own for each test.</summary>
    protected Device Device { get; }

    /// <summary>The backend under test.</summary>
    protected Backend Backend => Device.Backend;

    /// <summary>
    /// The largest case of many that a test goes through, by the suite's own measure of them. Suites of small shapes have a limit.
    /// </summary>
    protected virtual long LargestCase => long.MaxValue;

    /// <summary>The cases that are not too large here. That none is left is a failure.</summary>
    protected IEnumerable<T> Small<T>(IEnumerable<T> cases, Func<T, long> size)
    {
        T[] small = [.. cases.Where(c => size(c) <= LargestCase)];
        Assert.NotEmpty(small);
        return small;
    }

    /// <summary>A tensor of these elements, disposed after the test.</summary>
    protected Tensor From(Shape shape, ReadOnlySpan<float> elements) => Track(Device.From(shape, elements));

    /// <summary>A tensor whose every element is NaN, so that one which is not written shows. Disposed after the test.</summary>
    protected Tensor Unwritten(Shape shape) => Track(Device.Full(shape, float.NaN));

    /// <summary>A tensor of zeros, disposed after the test.</summary>
    protected Tensor Zeros(Shape shape) => Track(Device.Zeros(shape));

    /// <summary>Disposes a tensor after the test.</summary>
    protected Tensor Track(Tensor tensor)
    {
        _tensors.Add(tensor);
        return tensor;
    }

    /// <summary>
    /// Runs with 1, 2 and 3 threads and compares every bit of every result. The work has to be more than 2¹⁶
    /// operations and more than two pieces, or one thread does it all.
    /// </summary>
    protected void SameBitsForAnyThreads(Func<IReadOnlyList<(string Name, float[] Elements)>> run)
    {
        Device.Threads = 1;
        IReadOnlyList<(string Name, float[] Elements)> expected = run();
        Assert.NotEmpty(expected);
        foreach (int threads in (ReadOnlySpan<int>)[2, 3, 2, 3])
        {
            Device.Threads = threads;
            IReadOnlyList<(string Name, float[] Elements)> actual = run();
            Assert.Equal(expected.Count, actual.Count);
            for (int i = 0; i < actual.Count; i++)
                Compare.SameBits($"{actual[i].Name} with {threads} threads", actual[i].Elements, expected[i].Elements);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the tensors, then the device.</summary>
    protected virtual void Dispose(bool disposing)
    {
        foreach (Tensor tensor in _tensors)
            tensor.Dispose();
        Device.Dispose();
    }
}
