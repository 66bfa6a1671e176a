// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
namespace NestedLearning.Native;

internal static unsafe partial class Kernels
{
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
        ("nl_ridge_arguments", sizeof(RidgeArguments)),
        ("nl_scan_arguments", sizeof(ScanArguments)),
        ("nl_scan_gradients", sizeof(ScanGradientArguments)),
        ("nl_self_modifying_arguments", sizeof(SelfModifyingArguments)),
        ("nl_self_modifying_gradients", sizeof(SelfModifyingGradientArguments)),
        ("nl_deep_memory_arguments", sizeof(DeepMemoryArguments)),
        ("nl_deep_memory_gradients", sizeof(DeepMemoryGradientArguments)),
        ("nl_attention_arguments", sizeof(AttentionArguments)),
        ("nl_attention_gradients", sizeof(AttentionGradientArguments)),
    ];
}
