using Xunit;

namespace NestedLearning.Tests;

/// <summary>The golden cases by operation, each there whether or not its file is: a test of an absent one is skipped.</summary>
public static class GoldenNames
{
    public static TheoryData<string> Scan => [.. s_scans];

    public static TheoryData<string> ScanBackward => [.. s_scans.Select(n => n + "-backward")];

    public static TheoryData<string> ScanFrozen => ["scan-frozen-l2-8", "scan-frozen-l2-16", "scan-frozen-dot-8", "scan-frozen-dot-16"];

    public static TheoryData<string> DeepMemory => ["mlp-memory-l2", "mlp-memory-dot"];

    public static TheoryData<string> SelfModifying => ["self-modifying-l2", "self-modifying-dot"];

    private static readonly string[] s_scans =
        ["scan-linear", "scan-delta-0", "scan-delta-1", "scan-momentum-0", "scan-momentum-1", "scan-loud-keys"];
}
