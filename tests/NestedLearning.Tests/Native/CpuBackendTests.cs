using NestedLearning.Native;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>What is the native backend's own; its operations are in the suites shared by all backends.</summary>
public sealed class CpuBackendTests() : BackendTests("cpu")
{
    [Fact]
    public void Probe_NamesTheTargetInUse()
    {
        BackendReport report = Device.Probe().Single(r => r.Name == "cpu");
        Assert.True(report.Available);
        Assert.Contains(KernelLibrary.CurrentTarget, report.Detail, StringComparison.Ordinal);
        Assert.Equal(report.Detail, Device.Description);
    }

    [Fact]
    public void Description_SaysWhetherAmxIsUsed()
    {
        string? obstacle = KernelLibrary.AmxObstacle(ask: true);
        Assert.Equal(obstacle, KernelLibrary.AmxObstacle(ask: false));
        Assert.NotEqual("", obstacle);
        Assert.Equal(obstacle is null, Device.Description.Contains(" with AMX", StringComparison.Ordinal));
        bool expected = KernelLibrary.CurrentTarget == "AVX3" && obstacle is not null;
        Assert.Equal(expected, Device.Description.EndsWith($"; no AMX: {obstacle}", StringComparison.Ordinal));
    }

    [Fact]
    public void Choose_RefusesAnUnknownTarget()
    {
        ArgumentException e = Assert.Throws<ArgumentException>(() => KernelLibrary.Choose("SSE9"));
        Assert.Contains("SSE9", e.Message, StringComparison.Ordinal);
        Assert.Contains(KernelLibrary.CurrentTarget, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public unsafe void NativeError_BecomesAnExceptionWithItsMessage()
    {
        var arguments = new ElementwiseArguments { Size = (uint)sizeof(ElementwiseArguments), Activation = 9 };
        float x = 1;
        arguments.X = arguments.Z = &x;
        int status = Kernels.ActivationForward(&arguments, 0, 1);
        ArgumentException e = Assert.Throws<ArgumentException>(() => Status.ThrowIfFailed(status));
        Assert.Equal("activation is 9, expected 0 to 3", e.Message);
    }

    [Fact]
    public void SmallOperations_DoNotAllocate()
    {
        Tensor a = From([4, 8], new float[32]);
        Tensor b = From([8, 8], new float[64]);
        Tensor c = Unwritten([4, 8]);
        var arguments = new Operations.GemmArguments { A = a, B = b, C = c };
        for (int i = 0; i < 100; i++)
            Run();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
            Run();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Run()
        {
            Backend.Gemm(arguments);
            Backend.AddScaled(1, a, c);
            Backend.NormForward(Operations.NormKind.Rms, c, null, null, 1e-5f, a);
        }
    }
}
