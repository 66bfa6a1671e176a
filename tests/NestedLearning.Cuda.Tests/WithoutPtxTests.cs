using System.Reflection;
using NestedLearning.Gpu.Cuda;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Cuda.Tests;

/// <summary>
/// Devices of which nothing is hand-written: the reason, in the description and of every operation, and ILGPU's results bit for bit.
/// They are the same whether this build has PTX or not.
/// </summary>
public sealed class WithoutPtxTests() : BackendTests(HybridBackendProvider.WithoutPtx)
{
    // A device of which nothing is hand-written, and the words for why.
    public static TheoryData<string, string> Without() => new()
    {
        { HybridBackendProvider.WithoutPtx, "this build was made without it (sm_80)" },
        { HybridBackendProvider.Refused, "the driver refuses it (CUDA_ERROR_INVALID_IMAGE" },
        { HybridBackendProvider.Old, "it needs compute capability 8.0 and the device has 7.5" },
        { HybridBackendProvider.SwitchedOff, "NESTED_LEARNING_CUDA is ilgpu" },
    };

    [Theory]
    [MemberData(nameof(Without))]
    public void WithoutHandWrittenKernels_EveryOperationSaysWhy_AndIsIlgpus(string backend, string fault)
    {
        using Device device = Device.Open(backend), ilgpu = Device.Open("ilgpu-cpu");
        using var listener = new FallbackListener();
        int before = StandIn.Launches();
        List<(string Name, float[] Elements)> actual = FallbackTests.EveryOperation(device), expected = FallbackTests.EveryOperation(ilgpu);
        Assert.Equal(before, StandIn.Launches());
        for (int i = 0; i < expected.Count; i++)
            Compare.SameBits(expected[i].Name, actual[i].Elements, expected[i].Elements);
        // Every method that is overridden, once.
        IReadOnlyList<Fallback> told = listener.Of(backend);
        Assert.Equal(Overridden(), told.Select(f => f.Operation).Order(StringComparer.Ordinal));
        Assert.All(told, f => Assert.Matches(@"^the kernels of \w+\.ptx do not run here: ", f.Reason));
        Assert.All(told, f => Assert.Contains(fault, f.Reason, StringComparison.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Without))]
    public void WithoutHandWrittenKernels_TheDescriptionSaysWhy(string backend, string fault)
    {
        string detail = Device.Probe().Single(r => r.Name == backend).Detail;
        if (backend == HybridBackendProvider.Refused)
            Assert.All(CudaModules.Files, file => Assert.Contains($"; not {file}, {fault}", detail, StringComparison.Ordinal));
        else
            Assert.EndsWith($"; no hand-written CUDA, {fault}", detail.Split("; no cuBLAS")[0], StringComparison.Ordinal);
    }

    [Fact]
    public void AReason_IsToldOnce_AndAgainToWhoeverListensLater()
    {
        using Device device = Device.Open(HybridBackendProvider.WithoutPtx);
        using Tensor x = device.From([2], [1, 2]);
        using var first = new FallbackListener();
        for (int i = 0; i < 3; i++)
            device.Backend.Scale(x, 2);
        Assert.Equal(["Scale"], first.Of(device.Name).Select(f => f.Operation));
        using var second = new FallbackListener();
        for (int i = 0; i < 3; i++)
            device.Backend.Scale(x, 2);
        Assert.Equal(["Scale"], second.Of(device.Name).Select(f => f.Operation));
        Assert.Equal([64, 128], x.ToArray());
    }

    // The methods that hand-written kernels are behind.
    private static IEnumerable<string> Overridden() =>
        typeof(CudaBackend).GetMethods(BindingFlags.Instance | BindingFlags.Public | BindingFlags.DeclaredOnly)
            .Where(m => m.GetBaseDefinition() != m).Select(m => m.Name).Order(StringComparer.Ordinal);
}
