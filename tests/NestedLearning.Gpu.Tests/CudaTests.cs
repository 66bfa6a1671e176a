using NestedLearning.Tests;
using Xunit;

namespace NestedLearning.Gpu.Tests;

// The whole shared suite on an NVIDIA GPU: the one place where its kernels run as machine code.
public sealed class CudaActivationTests() : ActivationTests("cuda");

public sealed class CudaAdamTests() : AdamTests("cuda");

public sealed class CudaAttentionTests() : AttentionTests("cuda");

public sealed class CudaAxisTests() : AxisTests("cuda")
{
    public static new TheoryData<string, string> Cases() => Cases(pairs: false);
}

public sealed class CudaBackendMemoryTests() : BackendMemoryTests("cuda");

public sealed class CudaBatchedGemmTests() : BatchedGemmTests("cuda");

public sealed class CudaCausalConvolutionTests() : CausalConvolutionTests("cuda");

public sealed class CudaClipGlobalNormTests() : ClipGlobalNormTests("cuda");

public sealed class CudaColumnSumTests() : ColumnSumTests("cuda");

public sealed class CudaCrossEntropyTests() : CrossEntropyTests("cuda");

public sealed class CudaDeepMemoryTests() : DeepMemoryTests("cuda");

public sealed class CudaMixtureTests() : MixtureTests("cuda");

public sealed class CudaRidgeTests() : RidgeTests("cuda");

public sealed class CudaRotationTests() : RotationTests("cuda");

public sealed class CudaElementwiseTests() : ElementwiseTests("cuda");

public sealed class CudaEmbeddingTests() : EmbeddingTests("cuda");

public sealed class CudaGemmTests() : GemmTests("cuda");

public sealed class CudaGemmAdamTests() : GemmAdamTests("cuda");

public sealed class CudaLinearCrossEntropyTests() : LinearCrossEntropyTests("cuda");

public sealed class CudaMomentCommitTests() : MomentCommitTests("cuda");

public sealed class CudaNewtonSchulzTests() : NewtonSchulzTests("cuda");

public sealed class CudaNormTests() : NormTests("cuda");

public sealed class CudaScanTests() : ScanTests("cuda");

public sealed class CudaScanFrozenTests() : ScanFrozenTests("cuda");

public sealed class CudaSelfModifyingTests() : SelfModifyingTests("cuda");

public sealed class CudaSubnormalTests() : SubnormalTests("cuda");

public sealed class CudaTokenTests() : TokenTests("cuda");
