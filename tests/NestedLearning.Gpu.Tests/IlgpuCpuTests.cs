using System.Reflection;
using NestedLearning.Testing;
using NestedLearning.Tests;
using Xunit;

namespace NestedLearning.Gpu.Tests;

/// <summary>
/// Tests on ILGPU's CPU accelerator, where each thread of a group is one of the system's: they wait for each other too often to
/// share the processor with other tests.
/// </summary>
[CollectionDefinition(DisableParallelization = true)]
public sealed class IlgpuCpuCollection;

/// <summary>That the shared suites below are all of them, and that none is empty.</summary>
public sealed class IlgpuCpuSuiteTests
{
    [Fact]
    public void EverySuite_IsThere_AndHasTests()
    {
        Type[] suites = Suites("IlgpuCpu");
        Assert.Equal(Suites("OpenCl").Select(t => t.BaseType!.Name), suites.Select(t => t.BaseType!.Name));
        foreach (Type suite in suites)
        {
            Assert.True(suite.IsDefined(typeof(SmallShapesAttribute), inherit: false), suite.Name);
            Assert.Contains(suite.GetMethods(), m =>
                m.GetCustomAttribute<FactAttribute>() is not (null or LargeFactAttribute or LargeTheoryAttribute));
        }
    }

    private static Type[] Suites(string backend) =>
    [
        .. typeof(IlgpuCpuSuiteTests).Assembly.GetTypes()
            .Where(t => t.Name.StartsWith(backend, StringComparison.Ordinal) && t.BaseType?.Assembly == typeof(GemmTests).Assembly)
            .OrderBy(t => t.BaseType!.Name, StringComparer.Ordinal),
    ];
}

// The shared suites at small shapes: one token, a whole chunk and a part, widths that no vector divides. An index out of range
// ends the run here.
[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuActivationTests() : ActivationTests("ilgpu-cpu");

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuAdamTests() : AdamTests("ilgpu-cpu");

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuAttentionTests() : AttentionTests("ilgpu-cpu")
{
    // One token, B H > 1, a tile less one, a tile and one more.
    public static new TheoryData<int> Shapes() => [0, 1, 4, 6];
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuAxisTests() : AxisTests("ilgpu-cpu")
{
    public static new TheoryData<string, string> Cases() => Cases(pairs: false);
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuBackendMemoryTests() : BackendMemoryTests("ilgpu-cpu");

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuBatchedGemmTests() : BatchedGemmTests("ilgpu-cpu")
{
    protected override long LargestCase => 600;
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuCausalConvolutionTests() : CausalConvolutionTests("ilgpu-cpu");

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuClipGlobalNormTests() : ClipGlobalNormTests("ilgpu-cpu");

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuColumnSumTests() : ColumnSumTests("ilgpu-cpu");

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuCrossEntropyTests() : CrossEntropyTests("ilgpu-cpu");

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuDecodeTests() : DecodeTests("ilgpu-cpu")
{
    protected override long LargestCase => 51;

    public static new TheoryData<string, ScanRead, ScanWrite> Rules() => new()
    {
        { "", ScanRead.After, ScanWrite.Given }, { "ae", ScanRead.Before, ScanWrite.Scaled },
            { "aem", ScanRead.ChunkStart, ScanWrite.FrozenL2 },
    };

    public static new TheoryData<MemoryObjective, ScanRead, bool, bool> SelfModifyingRules() => new()
    {
        { MemoryObjective.L2, ScanRead.Before, false, false }, { MemoryObjective.L2, ScanRead.After, true, true },
            { MemoryObjective.DotProduct, ScanRead.ChunkStart, false, true },
    };
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuDeepMemoryTests() : DeepMemoryTests("ilgpu-cpu")
{
    // One token, and a chunk that began before.
    public static new TheoryData<MemoryObjective, ScanRead, int> Cases() => [.. DeepMemoryTests.Cases().Where(c => c.Data.Item3 is 0 or 2)];
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuRotationTests() : RotationTests("ilgpu-cpu");

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuElementwiseTests() : ElementwiseTests("ilgpu-cpu");

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuEmbeddingTests() : EmbeddingTests("ilgpu-cpu");

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuGemmTests() : GemmTests("ilgpu-cpu")
{
    protected override long LargestCase => 600;

    public static new TheoryData<int, int> SymmetricShapes => new() { { 1, 4 }, { 33, 20 } };
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuGemmAdamTests() : GemmAdamTests("ilgpu-cpu")
{
    protected override long LargestCase => 700;
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuLinearCrossEntropyTests() : LinearCrossEntropyTests("ilgpu-cpu")
{
    public static new TheoryData<int> Shapes() => [0, 1, 2];
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuMomentCommitTests() : MomentCommitTests("ilgpu-cpu")
{
    protected override long LargestCase => 33;
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuNewtonSchulzTests() : NewtonSchulzTests("ilgpu-cpu")
{
    public static new TheoryData<int, int> Shapes => new() { { 1, 1 }, { 1, 9 }, { 9, 1 }, { 5, 7 } };
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuMixtureTests() : MixtureTests("ilgpu-cpu");

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuRidgeTests() : RidgeTests("ilgpu-cpu")
{
    protected override long LargestCase => 17 * 17 * 17;
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuNormTests() : NormTests("ilgpu-cpu")
{
    protected override long LargestCase => 17;
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuScanTests() : ScanTests("ilgpu-cpu")
{
    // One token; a chunk less one.
    public static new TheoryData<string, ScanWrite, ScanRead, int> Cases() => [.. ScanTests.Cases().Where(c => c.Data.Item4 is 0 or 2)];

    public static new TheoryData<string, ScanWrite, ScanRead> Rules() => new()
    {
        { "", ScanWrite.Given, ScanRead.After }, { "ae", ScanWrite.Given, ScanRead.Before }, { "aem", ScanWrite.Scaled, ScanRead.After },
    };
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuScanFrozenTests() : ScanFrozenTests("ilgpu-cpu")
{
    // Of the rule with every gate also several chunks and heads.
    public static new TheoryData<string, ScanRead, int> Cases() =>
        [.. ScanFrozenTests.Cases().Where(c => c.Data.Item3 is 0 or 2 || c.Data is ("aem", _, 8))];

    public static new TheoryData<string, ScanRead, ScanWrite, int, int> CasesInsideAChunk() => new()
    {
        { "", ScanRead.Before, ScanWrite.FrozenL2, 2, 4 }, { "aem", ScanRead.After, ScanWrite.FrozenL2, 2, 1 },
            { "aem", ScanRead.ChunkStart, ScanWrite.Scaled, 2, 7 },
    };
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuSelfModifyingTests() : SelfModifyingTests("ilgpu-cpu")
{
    // Of one rule also several chunks and heads.
    public static new TheoryData<MemoryObjective, ScanRead, int> Cases() =>
        [.. SelfModifyingTests.Cases().Where(c => c.Data.Item3 is 0 or 2 || c.Data is (MemoryObjective.L2, ScanRead.Before, 8))];

    public static new TheoryData<MemoryObjective, ScanRead, bool, int, int> CasesInsideAChunk() => new()
    {
        { MemoryObjective.L2, ScanRead.Before, false, 2, 1 }, { MemoryObjective.L2, ScanRead.ChunkStart, true, 2, 4 },
            { MemoryObjective.DotProduct, ScanRead.After, false, 2, 7 },
    };
}

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuSubnormalTests() : SubnormalTests("ilgpu-cpu");

[SmallShapes, Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuTokenTests() : TokenTests("ilgpu-cpu");
