using Xunit;

namespace NestedLearning.Gpu.Tests;

public sealed class BackendProviderTests
{
    [Fact]
    public void EveryBackend_IsKnown_WithOneLine()
    {
        foreach (string name in (ReadOnlySpan<string>)["cuda", "opencl", "ilgpu-cpu"])
        {
            BackendReport report = Device.Probe().Single(r => r.Name == name);
            Assert.NotEmpty(report.Detail);
            Assert.DoesNotContain('\n', report.Detail);
        }
    }

    [Fact]
    public void AnAbsentBackend_IsRefusedWithItsReason()
    {
        BackendReport report = Device.Probe().Single(r => r.Name == "cuda");
        if (report.Available)
            return;
        var refusal = Assert.Throws<BackendUnavailableException>(() => Device.Open("cuda"));
        Assert.Equal($"Backend 'cuda' cannot run here: {report.Detail}", refusal.Message);
    }

    [Fact]
    public void OnlyCuda_IsPreferredToTheProcessor()
    {
        string[] order = [.. Device.Probe().Select(r => r.Name)];
        Assert.Equal(["cuda", "cpu", "managed", "opencl", "ilgpu-cpu"], order);
    }

    // What it queues is done before it returns, and still it is one queue.
    [Fact]
    public void IlgpuCpu_IsAQueue_AndDoesNotRunOnTheHost()
    {
        using Device device = Device.Open("ilgpu-cpu"), managed = Device.Open("managed");
        Assert.False(device.Backend.RunsOnHost);
        Assert.True(managed.Backend.RunsOnHost);
    }

    [Fact]
    public void ADisposedDevice_LeavesItsTensorsToBeDisposed()
    {
        Device device = Device.Open("ilgpu-cpu");
        Tensor tensor = device.Full([10], 3);
        device.Dispose();
        tensor.Dispose();
        using var again = Device.Open("ilgpu-cpu");
        using Tensor other = again.Full([10], 4);
        Assert.All(other.ToArray(), e => Assert.Equal(4, e));
    }
}
