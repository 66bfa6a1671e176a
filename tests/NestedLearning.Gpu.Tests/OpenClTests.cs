using NestedLearning.Testing;
using NestedLearning.Tests;
using Xunit;

namespace NestedLearning.Gpu.Tests;

// The whole shared suite on whatever OpenCL there is; under PoCL that is the same kernels on a processor.
public sealed class OpenClActivationTests() : ActivationTests("opencl");

public sealed class OpenClAdamTests() : AdamTests("opencl");

public sealed class OpenClAttentionTests() : AttentionTests("opencl");

[SmallShapes]
public sealed class OpenClAxisTests() : AxisTests("opencl")
{
    public static new TheoryData<string, string> Cases() => Cases(pairs: false);
}

public sealed class OpenClBackendMemoryTests() : BackendMemoryTests("opencl");

public sealed class OpenClBatchedGemmTests() : BatchedGemmTests("opencl");

public sealed class OpenClCausalConvolutionTests() : CausalConvolutionTests("opencl");

public sealed class OpenClClipGlobalNormTests() : ClipGlobalNormTests("opencl");

public sealed class OpenClColumnSumTests() : ColumnSumTests("opencl");

public sealed class OpenClCrossEntropyTests() : CrossEntropyTests("opencl");

public sealed class OpenClDeepMemoryTests() : DeepMemoryTests("opencl");

public sealed class OpenClMixtureTests() : MixtureTests("opencl");

public sealed class OpenClRidgeTests() : RidgeTests("opencl");

public sealed class OpenClRotationTests() : RotationTests("opencl");

public sealed class OpenClElementwiseTests() : ElementwiseTests("opencl");

public sealed class OpenClEmbeddingTests() : EmbeddingTests("opencl");

public sealed class OpenClGemmTests() : GemmTests("opencl");

public sealed class OpenClGemmAdamTests() : GemmAdamTests("opencl");

public sealed class OpenClLinearCrossEntropyTests() : LinearCrossEntropyTests("opencl");

public sealed class OpenClMomentCommitTests() : MomentCommitTests("opencl");

public sealed class OpenClNewtonSchulzTests() : NewtonSchulzTests("opencl");

public sealed class OpenClNormTests() : NormTests("opencl");

public sealed class OpenClScanTests() : ScanTests("opencl");

public sealed class OpenClScanFrozenTests() : ScanFrozenTests("opencl");

public sealed class OpenClSelfModifyingTests() : SelfModifyingTests("opencl");

public sealed class OpenClSubnormalTests() : SubnormalTests("opencl");

public sealed class OpenClTokenTests() : TokenTests("opencl");
