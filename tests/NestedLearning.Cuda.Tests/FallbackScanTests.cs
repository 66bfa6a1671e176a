using NestedLearning.Gpu.Cuda;
using NestedLearning.Testing;
using NestedLearning.Tests;
using Xunit;

namespace NestedLearning.Cuda.Tests;

/// <summary>Scans that the hand-written kernels do not take: the reason, the right result, and no launch by hand.</summary>
public abstract class FallbackScanTests(string backend) : ScanSuite(backend)
{
    private protected void FallsBack(ScanCase c, string forward, string backward)
    {
        using var listener = new FallbackListener();
        int before = StandIn.Launches();
        CheckForward(c, Forward(c), Tolerances.Scan.Forward);
        ScanUpstream upstream = Upstream(c);
        CheckBackward(c, upstream, Backward(c, upstream), Tolerances.Scan.Gradient);
        Assert.Equal(before, StandIn.Launches());
        // Once, though the gradient's test made the forward pass again.
        Assert.Equal([new("ScanForward", forward), new("ScanBackward", backward)], Scans(listener));
    }

    private protected IReadOnlyList<Fallback> Scans(FallbackListener listener) =>
        [.. listener.Of(Device.Name).Where(f => f.Operation.StartsWith("Scan", StringComparison.Ordinal))];
}

public sealed class HybridScanTests() : FallbackScanTests(HybridBackendProvider.Some)
{
    // What is taken runs by hand, and its results meet ILGPU's in the same memory.
    [Fact]
    public void AShapeThatIsTaken_RunsByHand_AndTellsNothing()
    {
        using var listener = new FallbackListener();
        int before = StandIn.Launches();
        ScanCase c = ScanCase.Create(1, [1, 70, 2, 16, 16], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 100), "aem");
        CheckForward(c, Forward(c), Tolerances.Scan.Forward);
        Assert.Equal(before + 1, StandIn.Launches());
        ScanUpstream upstream = Upstream(c);
        CheckBackward(c, upstream, Backward(c, upstream), Tolerances.Scan.Gradient);
        // The forward pass twice, since chunks of 100 tokens are in two parts, and the three kernels of the gradient.
        Assert.Equal(before + 6, StandIn.Launches());
        Assert.Empty(Scans(listener));
    }

    [Theory]
    [InlineData(ScanWrite.FrozenL2, ScanRead.After)]
    [InlineData(ScanWrite.Scaled, ScanRead.ChunkStart)]
    public void ALongChunkThatMeansSomething_IsNotTaken(ScanWrite write, ScanRead read)
    {
        const string Reason = "chunks whose start the rule reads have 65 tokens and can have 64";
        FallsBack(ScanCase.Create(2, [1, 70, 1, 4, 6], new ScanSettings(1, read, write, 65), "ae"), Reason, Reason);
    }

    [Fact]
    public void WideKeys_AreNotTaken()
    {
        const string Reason = "keys have 129 elements and can have 128";
        FallsBack(ScanCase.Create(3, [1, 10, 1, 129, 3], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 8), "m"), Reason, Reason);
    }

    [Theory]
    [InlineData(128, 1)]
    [InlineData(129, 0)]
    public void WideKeysOfAFewTokens_AreNotTaken(int keyDim, int launches)
    {
        using var listener = new FallbackListener();
        int before = StandIn.Launches();
        ScanCase c = ScanCase.Create(4, [1, 4, 1, keyDim, 3], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 8), "a");
        CheckForward(c, Forward(c, save: false), Tolerances.Scan.Forward);
        Assert.Equal(launches, StandIn.Launches() - before);
        Assert.Equal(launches == 0 ? [new("ScanForward", "keys have 129 elements and can have 128")] : [], Scans(listener));
    }

    // 65536 · 65536 states without elements, of which there is nothing to do.
    [Fact]
    public void MoreBlocksThanALaunchHas_AreNoShape() =>
        // B H blocks and more: a shape has fewer than 2³¹ rows, also where an axis is 0.
        Assert.Throws<ArgumentException>(() => new Shape([1 << 16, 0, 1 << 16, 0]));
}

public sealed class HybridSmallSharedScanTests() : FallbackScanTests(HybridBackendProvider.SmallShared)
{
    private const int Shared = 99 << 10;

    [Fact]
    public void StatesBeyondSharedMemory_AreNotTaken()
    {
        string reason = Reason(ScanKernels.SharedBytes(128, momentum: false));
        FallsBack(ScanCase.Create(5, [1, 10, 1, 128, 3], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 8), "ae"), reason, reason);
    }

    [Fact]
    public void AGradientBeyondSharedMemory_IsNotTaken_WhereItsForwardPassIs()
    {
        int keyDim = Enumerable.Range(1, 128).First(d => ScanKernels.TokensSharedBytes(d) > Shared);
        Assert.InRange(ScanKernels.SharedBytes(keyDim, momentum: true), 1, Shared);
        using var listener = new FallbackListener();
        ScanCase c = ScanCase.Create(6, [1, 10, 1, keyDim, 3], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 8), "aem");
        int before = StandIn.Launches();
        ScanUpstream upstream = Upstream(c);
        CheckBackward(c, upstream, Backward(c, upstream), Tolerances.Scan.Gradient);
        Assert.Equal(before + 1, StandIn.Launches());
        Assert.Equal([new("ScanBackward", Reason(ScanKernels.TokensSharedBytes(keyDim)))], Scans(listener));
    }

    private static string Reason(int needed) => $"a block needs {needed} bytes of shared memory and can have {Shared} on this device";
}

public sealed class HybridWithoutBackwardScanTests() : FallbackScanTests(HybridBackendProvider.WithoutBackward)
{
    [Fact]
    public void WithoutTheGradientsFile_TheForwardPassRunsByHand()
    {
        using var listener = new FallbackListener();
        int before = StandIn.Launches();
        ScanCase c = ScanCase.Create(7, [1, 30, 2, 8, 8], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 16), "aem");
        ScanUpstream upstream = Upstream(c);
        CheckBackward(c, upstream, Backward(c, upstream), Tolerances.Scan.Gradient);
        Assert.Equal(before + 1, StandIn.Launches());
        const string Reason = "the kernels of scan_backward.ptx do not run here: this build was made without it (sm_80)";
        Assert.Equal([new("ScanBackward", Reason)], Scans(listener));
    }

    [Fact]
    public void Description_NamesTheFile() =>
        Assert.Contains("; not scan_backward, this build was made without it (sm_80)", Device.Description, StringComparison.Ordinal);
}
