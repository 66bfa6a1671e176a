using Xunit;

namespace NestedLearning.Tests;

public sealed class DeviceTests
{
    [Fact]
    public void Open_TakesTheMostPreferredThatWorks()
    {
        using Device device = Device.Open();
        BackendReport first = Device.Probe().First(r => r.Available);
        Assert.Equal(first.Name, device.Name);
        Assert.Equal(first.Detail, device.Description);
    }

    [Fact]
    public void Probe_ListsThePreferredFirst()
    {
        IReadOnlyList<BackendReport> reports = Device.Probe();
        string[] names = [.. reports.Select(r => r.Name)];
        Assert.True(Array.IndexOf(names, "cpu") < Array.IndexOf(names, "managed"));
        Assert.True(reports.Single(r => r.Name == "managed").Available);
        Assert.All(reports, r => Assert.NotEmpty(r.Detail));
    }

    [Theory]
    [InlineData("")]
    [InlineData("CPU")]
    [InlineData("gpu")]
    public void UnknownName_IsRefusedWithTheKnownOnes(string name)
    {
        ArgumentException e = Assert.Throws<ArgumentException>(() => Device.Open(name));
        Assert.Contains($"'{name}'", e.Message, StringComparison.Ordinal);
        Assert.Contains("cpu", e.Message, StringComparison.Ordinal);
        Assert.Contains("managed", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AbsentBackend_IsAnErrorByName_AndPassedOverWithout()
    {
        Device.Register(new AbsentProvider("first reason"));
        Device.Register(new AbsentProvider("no such accelerator"));
        BackendReport report = Device.Probe()[0];
        Assert.Equal(new BackendReport(AbsentProvider.BackendName, false, "no such accelerator"), report);
        BackendUnavailableException e = Assert.Throws<BackendUnavailableException>(() => Device.Open(AbsentProvider.BackendName));
        Assert.Contains("no such accelerator", e.Message, StringComparison.Ordinal);
        int probes = AbsentProvider.Probes;
        using Device device = Device.Open();
        Assert.Equal(probes, AbsentProvider.Probes);
        Assert.NotEqual(AbsentProvider.BackendName, device.Name);
        Assert.Throws<ArgumentNullException>(() => Device.Register(null!));
    }

    [Fact]
    public void Threads_StartAsProcessorsAndAreAtLeastOne()
    {
        using Device device = Device.Open("managed");
        Assert.Equal(Environment.ProcessorCount, device.Threads);
        device.Threads = 3;
        Assert.Equal(3, device.Threads);
        Assert.Throws<ArgumentOutOfRangeException>(() => device.Threads = 0);
        Assert.Throws<ArgumentOutOfRangeException>(() => device.Threads = -1);
        Assert.Equal(3, device.Threads);
    }

    [Fact]
    public void TensorCores_AreNotAllowedAtFirst()
    {
        using Device device = Device.Open("managed");
        Assert.Equal(TensorCores.None, device.TensorCores);
        device.TensorCores = TensorCores.BFloat16;
        Assert.Equal(TensorCores.BFloat16, device.Backend.TensorCores);
        var error = Assert.Throws<ArgumentOutOfRangeException>(() => device.TensorCores = (TensorCores)3);
        Assert.Contains("None, TensorFloat32, BFloat16", error.Message, StringComparison.Ordinal);
        Assert.Equal(TensorCores.BFloat16, device.TensorCores);
    }

    // Stays registered for the process: it is never available, so nothing else meets it.
    private sealed class AbsentProvider(string reason) : BackendProvider
    {
        public const string BackendName = "absent-in-tests";

        public override string Name => BackendName;

        public override int Preference => 1000;

        // Of this thread: other tests probe as well.
        [field: ThreadStatic]
        public static int Probes { get; private set; }

        public override BackendReport Probe()
        {
            Probes++;
            return new(Name, false, reason);
        }

        public override Backend Create() => throw new BackendUnavailableException(reason);
    }
}
