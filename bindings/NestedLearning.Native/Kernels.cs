using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>
/// <c>nested_learning.h</c>, one file a section of the header. Every function but the plain queries returns a status for
/// <see cref="Status.ThrowIfFailed"/>.
/// </summary>
internal static unsafe partial class Kernels
{
    public const string Library = "nested_learning";

    /// <summary>NL_ABI_VERSION of the header that these declarations follow.</summary>
    public const int AbiVersion = 3;

    /// <summary>Every struct that crosses, by its native name.</summary>
    public static IReadOnlyList<(string Name, int Size)> StructSizes { get; } =
    [
        ("nl_elementwise_arguments", sizeof(ElementwiseArguments)),
        ("nl_gemm_arguments", sizeof(GemmArguments)),
        ("nl_gemm_sizes", sizeof(GemmSizes)),
        ("nl_column_sum_arguments", sizeof(ColumnSumArguments)),
        ("nl_norm_arguments", sizeof(NormArguments)),
        ("nl_convolution_arguments", sizeof(ConvolutionArguments)),
        ("nl_embedding_arguments", sizeof(EmbeddingArguments)),
        ("nl_cross_entropy_arguments", sizeof(CrossEntropyArguments)),
        ("nl_adam_arguments", sizeof(AdamArguments)),
        ("nl_moment_arguments", sizeof(MomentArguments)),
        ("nl_scan_arguments", sizeof(ScanArguments)),
        ("nl_scan_gradients", sizeof(ScanGradientArguments)),
        ("nl_self_modifying_arguments", sizeof(SelfModifyingArguments)),
        ("nl_self_modifying_gradients", sizeof(SelfModifyingGradientArguments)),
        ("nl_deep_memory_arguments", sizeof(DeepMemoryArguments)),
        ("nl_deep_memory_gradients", sizeof(DeepMemoryGradientArguments)),
        ("nl_attention_arguments", sizeof(AttentionArguments)),
        ("nl_attention_gradients", sizeof(AttentionGradientArguments)),
    ];

    [LibraryImport(Library, EntryPoint = "nl_abi_version")]
    public static partial int GetAbiVersion();

    [LibraryImport(Library, EntryPoint = "nl_last_error")]
    public static partial byte* LastError();

    [LibraryImport(Library, EntryPoint = "nl_struct_size", StringMarshalling = StringMarshalling.Utf8)]
    public static partial uint StructSize(string name);

    [LibraryImport(Library, EntryPoint = "nl_target_count")]
    public static partial int TargetCount();

    [LibraryImport(Library, EntryPoint = "nl_target_name")]
    public static partial byte* TargetName(int target);

    [LibraryImport(Library, EntryPoint = "nl_target_supported")]
    public static partial int TargetSupported(int target);

    [LibraryImport(Library, EntryPoint = "nl_target_current")]
    public static partial int TargetCurrent(int* target);

    [LibraryImport(Library, EntryPoint = "nl_target_choose")]
    public static partial int TargetChoose(int target);

    [LibraryImport(Library, EntryPoint = "nl_amx_obstacle")]
    public static partial byte* AmxObstacle(int ask);
}
