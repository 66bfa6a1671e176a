using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>What every backend does with memory, whatever its kernels.</summary>
public abstract class BackendMemoryTests(string backend) : BackendTests(backend)
{
    [Fact]
    public void Device_RunsTheBackendItNames()
    {
        BackendReport report = Device.Probe().Single(r => r.Name == Device.Name);
        Assert.True(report.Available);
        Assert.Equal(report.Detail, Device.Description);
    }

    [Fact]
    public void Elements_GoInAndComeOut()
    {
        float[] elements = new TestData(1).Normal(35);
        elements[3] = float.NaN;
        elements[4] = float.NegativeInfinity;
        elements[5] = -0f;
        elements[6] = float.Epsilon;
        using Tensor tensor = Device.From([5, 7], elements);
        Compare.SameBits("tensor", tensor.ToArray(), elements);
        using Tensor copy = tensor.Clone();
        tensor.Fill(2);
        Compare.SameBits("copy", copy.ToArray(), elements);
        Assert.All(tensor.ToArray(), x => Assert.Equal(2f, x));
    }
}

public sealed class ManagedBackendMemoryTests() : BackendMemoryTests("managed");

public sealed class CpuBackendMemoryTests() : BackendMemoryTests("cpu");
