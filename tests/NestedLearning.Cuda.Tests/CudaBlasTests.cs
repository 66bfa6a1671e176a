using System.Runtime.CompilerServices;
using NestedLearning.Gpu;
using NestedLearning.Gpu.Cuda;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Cuda.Tests;

/// <summary>Large products by cuBLAS, on the stand-in for it, and our own where it does not suit or is not there.</summary>
public sealed class CudaBlasTests() : BackendTests(WithBlas)
{
    /// <summary>CUDA's backend with the stand-in for cuBLAS.</summary>
    internal const string WithBlas = "cuda-cublas";

    private const string WithBrokenBlas = "cuda-broken-cublas", WithoutBlas = "cuda-no-cublas", WithOther = "cuda-other-for-cublas";
    private const int NotInitialized = 1, AllocationFailed = 3, ExecutionFailed = 13;

    // Past the smallest side of 256, all of them different.
    private const int M = 257, N = 270, K = 263;

    [ModuleInitializer]
    internal static void Register()
    {
        Device.Register(new Provider(WithBlas, StandIn.Blas));
        Device.Register(new Provider(WithBrokenBlas, StandIn.Blas, NotInitialized));
        Device.Register(new Provider(WithOther, StandIn.Driver));
        Device.Register(new Provider(WithoutBlas, "/nowhere/libcublas.so"));
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void LargeProduct_IsOneOfCuBlas(bool transposeA, bool transposeB)
    {
        var (a, b, c) = Operands(transposeA, transposeB);
        (int launches, int products) = (StandIn.Launches(), StandIn.BlasProducts());
        Gemm.Multiply(new Operations.GemmArguments { A = a, B = b, C = c, TransposeA = transposeA, TransposeB = transposeB });
        Assert.Equal((0, 1), (StandIn.Launches() - launches, StandIn.BlasProducts() - products));
        Compare.Close("c", c, Expected(a, b, transposeA, transposeB), Tolerances.Gemm.Forward);
    }

    // What is there already: accumulated, or as a residual in its place.
    [Fact]
    public void WhatIsThere_IsAdded()
    {
        var (a, b, _) = Operands();
        float[] there = new TestData(8).Normal(M * N);
        double[] product = Expected(a, b);
        int products = StandIn.BlasProducts();
        Tensor c = From([M, N], there);
        Gemm.Multiply(new Operations.GemmArguments { A = a, B = b, C = c, Accumulate = true });
        Compare.Close("accumulated", c, [.. product.Zip(there, (p, x) => p + x)], Tolerances.Gemm.Forward);
        Tensor scaled = From([M, N], there);
        Gemm.Multiply(new Operations.GemmArguments { A = a, B = b, C = scaled, Residual = scaled, ResidualScale = -2.5f });
        Compare.Close("scaled", scaled, [.. product.Zip(there, (p, x) => p - (2.5 * x))], Tolerances.Gemm.Forward);
        Tensor batch = Unwritten([1, M, N]);
        Gemm.MultiplyBatch(a.Reshape([1, M, K]), b.Reshape([1, K, N]), batch, false, false, false);
        Compare.Close("batch of one", batch, product, Tolerances.Gemm.Forward);
        Assert.Equal(3, StandIn.BlasProducts() - products);
    }

    [Fact]
    public void Rounding_IsWhatIsAllowed()
    {
        var (a, b, c) = Operands();
        double[] expected = Expected(a, b);
        int products = StandIn.BlasProducts();
        // In turn, so that the mode of one product is not the next one's.
        foreach ((TensorCores allowed, double least, double most) in ((TensorCores, double, double)[])
            [(TensorCores.TensorFloat32, 1e-6, 2e-3), (TensorCores.None, 0, Tolerances.Gemm.Forward),
                (TensorCores.TensorFloat32, 1e-6, 2e-3)])
        {
            Device.TensorCores = allowed;
            Gemm.Multiply(new Operations.GemmArguments { A = a, B = b, C = c });
            Assert.InRange(Compare.RelativeError(c.ToArray(), expected), least, most);
        }

        Assert.Equal(3, StandIn.BlasProducts() - products);
    }

    [Fact]
    public void OtherProducts_AreOurs()
    {
        var (a, b, c) = Operands();
        Tensor bias = Zeros([N]), residual = Zeros([M, N]), small = Zeros([M, 255]), square = Zeros([M, M]);
        int products = StandIn.BlasProducts();
        Ours(new() { A = a, B = b, C = c, Bias = bias });
        Ours(new() { A = a, B = b, C = c, Residual = residual });
        Ours(new() { A = a, B = b, C = c, Epilogue = Epilogue.Gelu });
        Ours(new() { A = a, B = b, C = c, Precision = GemmPrecision.BFloat16 });
        Ours(new() { A = a, B = Zeros([K, 255]), C = small });
        Ours(new() { A = a, B = a, C = square, TransposeB = true, Symmetric = true });
        Device.TensorCores = TensorCores.BFloat16;
        Ours(new() { A = a, B = b, C = c });
        Assert.Equal(products, StandIn.BlasProducts());

        void Ours(Operations.GemmArguments arguments)
        {
            int before = StandIn.Launches();
            Gemm.Multiply(arguments);
            Assert.Equal(1, StandIn.Launches() - before);
        }
    }

    [Fact]
    public void Description_SaysWhetherThereIsOne()
    {
        Assert.Contains("; cuBLAS 12.3.4 for large products", Backend.Description, StringComparison.Ordinal);
        using Device broken = Device.Open(WithBrokenBlas), other = Device.Open(WithOther), none = Device.Open(WithoutBlas);
        Assert.Contains("; no cuBLAS, it does not start (CUBLAS_STATUS_NOT_INITIALIZED)", broken.Backend.Description,
            StringComparison.Ordinal);
        Assert.Contains("; no cuBLAS, its library is not here", other.Backend.Description, StringComparison.Ordinal);
        Assert.Contains("; no cuBLAS, its library is not here", none.Backend.Description, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(WithBrokenBlas)]
    [InlineData(WithoutBlas)]
    public void WithoutIt_LargeProductsAreOurs(string backend)
    {
        using Device device = Device.Open(backend);
        var data = new TestData(3);
        float[] x = data.Normal(M * K), y = data.Normal(K * N);
        using Tensor a = device.From([M, K], x), b = device.From([K, N], y), c = device.Full([M, N], float.NaN);
        int before = StandIn.Launches();
        device.Backend.Gemm(new Operations.GemmArguments { A = a, B = b, C = c });
        Assert.Equal(1, StandIn.Launches() - before);
        Compare.Close("c", c, Expected(a, b), Tolerances.Gemm.Forward);
    }

    [Fact]
    public void Failure_IsNamed_AndTheNextProductRuns()
    {
        var (a, b, c) = Operands();
        var arguments = new Operations.GemmArguments { A = a, B = b, C = c };
        Gemm.Multiply(arguments);
        try
        {
            Assert.Equal(0, StandIn.FailBlas(AllocationFailed));
            var memory = Assert.Throws<InsufficientMemoryException>(() => Gemm.Multiply(arguments));
            Assert.Contains("'CUDA emulator' ran out of memory in a product by cuBLAS", memory.Message, StringComparison.Ordinal);
            Assert.Equal(0, StandIn.FailBlas(ExecutionFailed));
            var error = Assert.Throws<DeviceFailureException>(() => Gemm.Multiply(arguments));
            Assert.Contains("a product by cuBLAS: the device is lost", error.Message, StringComparison.Ordinal);
        }
        finally
        {
            Assert.Equal(0, StandIn.FailBlas(0));
        }

        using Device again = Device.Open(WithBlas);
        again.Backend.Gemm(arguments);
        Compare.Close("c", c, Expected(a, b), Tolerances.Gemm.Forward);
    }

    private (Tensor A, Tensor B, Tensor C) Operands(bool transposeA = false, bool transposeB = false)
    {
        var data = new TestData(3);
        return (
            From(transposeA ? [K, M] : [M, K], data.Normal(M * K)), From(transposeB ? [N, K] : [K, N], data.Normal(K * N)),
            Unwritten([M, N]));
    }

    private static double[] Expected(Tensor a, Tensor b, bool transposeA = false, bool transposeB = false) =>
        ReferenceDense.Product(M, N, K, Compare.ToDouble(a.ToArray()), transposeA, Compare.ToDouble(b.ToArray()), transposeB, null);

    // The cuda backend with this library for cuBLAS.
    private sealed class Provider(string name, string library, int status = 0) : BackendProvider
    {
        private readonly CudaBackendProvider _cuda = new(name);

        public override string Name => name;

        public override int Preference => int.MinValue;

        public override BackendReport Probe() => WithLibrary(_cuda.Probe);

        public override Backend Create() => WithLibrary(_cuda.Create);

        // cuBLAS is looked for when a description or a product first asks for it: a probe's description here.
        private T WithLibrary<T>(Func<T> open)
        {
            string? before = Environment.GetEnvironmentVariable(CudaBlas.Variable);
            try
            {
                Environment.SetEnvironmentVariable(CudaBlas.Variable, library);
                Assert.Equal(0, StandIn.FailBlas(status));
                Assert.True(_cuda.Probe().Available);
                return open();
            }
            finally
            {
                Assert.Equal(0, StandIn.FailBlas(0));
                Environment.SetEnvironmentVariable(CudaBlas.Variable, before);
            }
        }
    }
}
