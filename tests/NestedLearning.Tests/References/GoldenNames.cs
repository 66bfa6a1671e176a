using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>The golden cases of each operation, whatever lies in their folder.</summary>
public static class GoldenNames
{
    public static TheoryData<string> Scan => Of("scan");

    public static TheoryData<string> ScanBackward => Of("scan-backward");

    public static TheoryData<string> ScanFrozen => Of("scan-frozen");

    public static TheoryData<string> ScanFrozenBackward => Of("scan-frozen-backward");

    public static TheoryData<string> DeepMemory => Of("mlp-memory");

    public static TheoryData<string> DeepMemoryBackward => Of("mlp-memory-backward");

    public static TheoryData<string> SelfModifying => Of("self-modifying");

    public static TheoryData<string> SelfModifyingMemories => Of("self-modifying-memories");

    public static TheoryData<string> SelfModifyingMemoriesBackward => Of("self-modifying-memories-backward");

    private static TheoryData<string> Of(string operation) => [.. GoldenCase.Names(operation)];
}
