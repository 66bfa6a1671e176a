using NestedLearning.Testing;
using NestedLearning.Tests;
using Xunit;

// There is one driver, and some tests let it fail.
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace NestedLearning.Cuda.Tests;

// The shared suites of what is hand-written, in the emulator.
public sealed class CudaActivationTests() : ActivationTests("cuda");

public sealed class CudaAdamTests() : AdamTests("cuda");

public sealed class CudaAxisTests() : AxisTests("cuda")
{
    // Without kernels written by hand: ILGPU's, which the emulator does not run.
    private static readonly string[] s_others =
        ["attention", "column sum", "convolution", "deep memory", "embedding", "moments", "norms", "ridge", "rotation", "tokens"];

    // Keys or values of no elements are ILGPU's too.
    public static new TheoryData<string, string> Cases() =>
    [
        .. Cases(pairs: false).Where(row => !s_others.Any(name => row.Data.Item1.StartsWith(name, StringComparison.Ordinal))
            && !(row.Data.Item1.StartsWith("scan", StringComparison.Ordinal) && row.Data.Item2 is "Dk=0" or "Dv=0")),
    ];
}

public sealed class CudaBatchedGemmTests() : BatchedGemmTests("cuda");

public sealed class CudaClipGlobalNormTests() : ClipGlobalNormTests("cuda");

public sealed class CudaCrossEntropyTests() : CrossEntropyTests("cuda");

public sealed class CudaElementwiseTests() : ElementwiseTests("cuda");

public sealed class CudaGemmAdamTests() : GemmAdamTests("cuda");

public sealed class CudaGemmTests() : GemmTests("cuda");

public sealed class CudaNewtonSchulzTests() : NewtonSchulzTests("cuda");

// Some shapes of each kind, since the emulator takes its time.
[SmallShapes]
public sealed class CudaScanTests() : ScanTests("cuda")
{
    public static new TheoryData<string, ScanWrite, ScanRead, int> Cases() => [.. ScanTests.Cases().Where(c => c.Data.Item4 is 0 or 4)];

    public static new TheoryData<string, ScanWrite, ScanRead> Rules() => new()
    {
        { "", ScanWrite.Given, ScanRead.After }, { "ae", ScanWrite.Given, ScanRead.Before }, { "aem", ScanWrite.Scaled, ScanRead.After },
    };

    // 11 and 8 significant bits of each operand; without leave for it nothing is rounded.
    [Theory]
    [InlineData(TensorCores.TensorFloat32, 4e-3)]
    [InlineData(TensorCores.BFloat16, 3e-2)]
    public void Operands_AreRoundedWhereItIsAllowed(TensorCores allowed, double tolerance)
    {
        ScanCase c = ScanCase.Create(2, [1, 100, 2, 32, 40], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 64), "aem");
        float[] exact = Forward(c).O;
        Device.TensorCores = allowed;
        ScanRun rounded = Forward(c);
        CheckForward(c, rounded, tolerance);
        Assert.NotEqual(exact, rounded.O);
        ScanUpstream upstream = Upstream(c);
        CheckBackward(c, upstream, Backward(c, upstream), 2 * tolerance);
    }

    [Fact]
    public void Forward_IsOneLaunch()
    {
        ScanCase c = ScanCase.Create(1, [2, 200, 2, 16, 16], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 64), "aem");
        ScanInputs inputs = Inputs(c);
        var outputs = new ScanOutputs { O = Unwritten(c.ValueShape), S = Unwritten(c.StateShape), P = Unwritten(c.StateShape) };
        int before = StandIn.Launches();
        Scan.Forward(inputs, c.Settings, outputs);
        Assert.Equal(1, StandIn.Launches() - before);
    }
}

// Chunks that mean something are of at most 64 tokens where the kernels are hand-written.
[SmallShapes]
public sealed class CudaScanFrozenTests() : ScanFrozenTests("cuda")
{
    public static new TheoryData<string, ScanRead, int> Cases() => [.. ScanFrozenTests.Cases().Where(c => c.Data.Item3 is 0 or 4)];

    public static new TheoryData<string, ScanRead, ScanWrite, int, int> CasesInsideAChunk() =>
        [.. ScanFrozenTests.CasesInsideAChunk().Where(c => c.Data.Item4 is 4)];

    public static new TheoryData<string, int> LongChunks() => new() { { "a", 64 }, { "aem", 64 } };
}

[SmallShapes]
public sealed class CudaSelfModifyingTests() : SelfModifyingTests("cuda")
{
    public static new TheoryData<MemoryObjective, ScanRead, int> Cases() =>
        [.. SelfModifyingTests.Cases().Where(c => c.Data.Item3 is 0 or 4)];

    public static new TheoryData<MemoryObjective, ScanRead, bool, int, int> CasesInsideAChunk() =>
        [.. SelfModifyingTests.CasesInsideAChunk().Where(c => c.Data.Item4 is 4)];
}
