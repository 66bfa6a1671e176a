using NestedLearning.Tests;
using Xunit;

// There is one driver, and some tests let it fail.
[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace NestedLearning.Cuda.Tests;

// The shared suites of what is hand-written, in the emulator.
public sealed class CudaActivationTests() : ActivationTests("cuda");

public sealed class CudaAdamTests() : AdamTests("cuda");

public sealed class CudaBatchedGemmTests() : BatchedGemmTests("cuda");

public sealed class CudaClipGlobalNormTests() : ClipGlobalNormTests("cuda");

public sealed class CudaCrossEntropyTests() : CrossEntropyTests("cuda");

public sealed class CudaElementwiseTests() : ElementwiseTests("cuda");

public sealed class CudaGemmAdamTests() : GemmAdamTests("cuda");

public sealed class CudaGemmTests() : GemmTests("cuda");

public sealed class CudaNewtonSchulzTests() : NewtonSchulzTests("cuda");

public sealed class CudaScanTests() : ScanTests("cuda");

public sealed class CudaScanFrozenTests() : ScanFrozenTests("cuda");

public sealed class CudaSelfModifyingTests() : SelfModifyingTests("cuda");
