using NestedLearning.Gpu;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Cuda.Tests;

/// <summary>The way from C# to hand-written kernels, and what a caller sees when a device fails.</summary>
public sealed class DeviceTests() : BackendTests("cuda")
{
    private const int IllegalAddress = 700, OutOfResources = 701;

    [Fact]
    public void Description_NamesHandWrittenKernels()
    {
        Assert.Contains("hand-written CUDA (sm_80): ", Backend.Description, StringComparison.Ordinal);
        Assert.DoesNotContain("; not ", Backend.Description, StringComparison.Ordinal);
    }

    [Fact]
    public void Fill_RunsAsOneLaunch()
    {
        int before = StandIn.Launches();
        Tensor x = Track(Device.Full([3, 70], 2.5f));
        Assert.Equal(1, StandIn.Launches() - before);
        Assert.Equal(Enumerable.Repeat(2.5f, 210), x.ToArray());
    }

    [Fact]
    public void ACommitOfManyTensors_IsALaunchForEachThirtyTwo()
    {
        AdamTensors[] tensors = [.. Enumerable.Range(0, 40).Select(i => new AdamTensors(
            Track(Device.Full([7 * i], 1)), Track(Device.Full([7 * i], 0.5f)), Track(Device.Full([7 * i], 0)),
            Track(Device.Full([7 * i], 0))))];
        AdamSettings[] settings = [.. Enumerable.Range(0, 40)
            .Select(i => new AdamSettings(0.01f * i, 0.9, 0.999, 1e-8f, 0, Decoupled: true, Step: 1, GradientScale: 1))];
        int before = StandIn.Launches();
        Backend.AdamCommit(tensors, settings, []);
        Assert.Equal(2, StandIn.Launches() - before);
        // The first step of Adam is the learning rate's length.
        for (int i = 0; i < 40; i++)
            Assert.All(tensors[i].W.ToArray(), w => Assert.Equal(1 - (0.01f * i), w, 1e-6f));
    }

    [Fact]
    public void ANormOfManyTensors_WaitsOnce()
    {
        var data = new TestData(3);
        Tensor[] tensors = [.. Enumerable.Range(0, 9).Select(i => From([300 * i], data.Normal(300 * i)))];
        int before = StandIn.Waits();
        double[] squares = [.. tensors.Select(Backend.SumOfSquares)];
        int each = (StandIn.Waits() - before) / 8;
        Assert.InRange(each, 1, 2);
        (int launches, before) = (StandIn.Launches(), StandIn.Waits());
        Assert.Equal(Math.Sqrt(squares.Sum()), GlobalNorm.Of(tensors));
        Assert.Equal(each, StandIn.Waits() - before);
        Assert.Equal(16, StandIn.Launches() - launches);
    }

    // Bit for bit the product and then its step, whatever operands are rounded to.
    [Theory]
    [InlineData(TensorCores.None)]
    [InlineData(TensorCores.TensorFloat32)]
    [InlineData(TensorCores.BFloat16)]
    public void AProductAndItsCommit_AreOneLaunch_WithTheBitsOfTwo(TensorCores allowed)
    {
        Device.TensorCores = allowed;
        var data = new TestData(9);
        Tensor x = From([40, 70], data.Normal(40 * 70)), dy = From([40, 66], data.Normal(40 * 66));
        float[] w = data.Normal(70 * 66), gathered = data.Normal(70 * 66);
        AdamSettings settings = new(0.01f, 0.9, 0.999, 1e-3f, 0.1f, Decoupled: true, Step: 2, GradientScale: 0.5f)
        {
            ClearGradient = true, GradientIsBounded = true,
        };
        AdamTensors together = Weight(), apart = Weight();
        int before = StandIn.Launches();
        GemmAdamCommit.Apply(x, dy, together.G, together.W, together.M, together.V, settings);
        Assert.Equal(1, StandIn.Launches() - before);
        Gemm.Multiply(new GemmArguments { A = x, B = dy, TransposeA = true, C = apart.G, Accumulate = true });
        AdamCommit.Apply(apart.W, apart.G, apart.M, apart.V, settings);
        Compare.SameBits("w", together.W.ToArray(), apart.W.ToArray());
        Compare.SameBits("m", together.M.ToArray(), apart.M.ToArray());
        Compare.SameBits("v", together.V.ToArray(), apart.V.ToArray());
        Assert.All(together.G.ToArray(), g => Assert.Equal(0, g));

        AdamTensors Weight() => new(From([70, 66], w), From([70, 66], gathered), Zeros([70, 66]), Zeros([70, 66]));
    }

    [Fact]
    public void Memory_ThatIsNotThere_IsNamed_AndNothingIsLost()
    {
        Tensor kept = From([4], [1, 2, 3, 4]);
        long allocated = StandIn.Allocated();
        try
        {
            Assert.Equal(0, StandIn.SetMemory(allocated + (1 << 20)));
            var error = Assert.Throws<InsufficientMemoryException>(() => Device.Full([1 << 20], 1));
            Assert.Contains("CUDA emulator", error.Message, StringComparison.Ordinal);
            Assert.Contains("4 MiB", error.Message, StringComparison.Ordinal);
        }
        finally
        {
            Assert.Equal(0, StandIn.SetMemory(-1));
        }

        Assert.Equal([1, 2, 3, 4], kept.ToArray());
        using Tensor after = Device.Full([1 << 20], 1);
        Assert.Equal(1 << 20, after.ToArray().Sum());
    }

    [Fact]
    public void Memory_ThatThePoolKeeps_IsGivenUpWhenItRunsOut()
    {
        Device.Full([1 << 20], 1).Dispose();
        try
        {
            Assert.Equal(0, StandIn.SetMemory(StandIn.Allocated() + (1 << 20)));
            using Tensor larger = Device.Full([(1 << 20) + (1 << 17)], 1);
            Assert.Equal(1, larger.ToArray()[^1]);
        }
        finally
        {
            Assert.Equal(0, StandIn.SetMemory(-1));
        }
    }

    [Fact]
    public void LostDevice_IsNamed_AndOpenedAgain()
    {
        Tensor x = From([2], [1, 2]);
        try
        {
            Assert.Equal(0, StandIn.Fail(0, IllegalAddress));
            var error = Assert.Throws<DeviceFailureException>(() => Device.Full([2], 1));
            Assert.Contains("Backend 'cuda' on 'CUDA emulator'", error.Message, StringComparison.Ordinal);
            Assert.Contains("the device is lost", error.Message, StringComparison.Ordinal);
            Assert.Throws<DeviceFailureException>(() => x.ToArray());
        }
        finally
        {
            Assert.Equal(0, StandIn.Fail(0, 0));
        }

        using Device again = Device.Open("cuda");
        using Tensor y = again.Full([2], 3);
        Assert.Equal([3, 3], y.ToArray());
    }

    [Fact]
    public void LostDevice_CanBeDisposedOf()
    {
        Device device = Device.Open("cuda");
        Tensor x = device.Full([5], 1);
        try
        {
            Assert.Equal(0, StandIn.Fail(0, IllegalAddress));
            x.Dispose();
            device.Dispose();
        }
        finally
        {
            Assert.Equal(0, StandIn.Fail(0, 0));
        }
    }

    [Fact]
    public void Memory_IsFreed_WhenAKernelFails()
    {
        using Device device = Device.Open("cuda");
        // The pool has the memory from here on, so that the launch is what fails.
        device.Full([1 << 16], 1).Dispose();
        long before = StandIn.Allocated();
        for (int i = 0; i < 3; i++)
        {
            try
            {
                Assert.Equal(0, StandIn.Fail(0, IllegalAddress));
                Assert.Throws<DeviceFailureException>(() => device.Full([1 << 16], 1));
            }
            finally
            {
                Assert.Equal(0, StandIn.Fail(0, 0));
            }
        }

        device.Full([1 << 16], 1).Dispose();
        Assert.Equal(before, StandIn.Allocated());
    }

    [Fact]
    public void Kernel_ThatDoesNotFit_IsNamed()
    {
        using Device device = Device.Open("cuda");
        device.Full([5], 1).Dispose();
        try
        {
            Assert.Equal(0, StandIn.Fail(0, OutOfResources));
            var error = Assert.Throws<DeviceFailureException>(() => device.Full([5], 1));
            Assert.Contains("nl_fill: the kernel does not fit the device", error.Message, StringComparison.Ordinal);
        }
        finally
        {
            Assert.Equal(0, StandIn.Fail(0, 0));
        }
    }

    [Fact]
    public void PtxThatTheDriverRefuses_IsLeftOut_WithItsReason()
    {
        Device refused;
        try
        {
            Assert.Equal(0, StandIn.Refuse(true));
            Lose(Device);
            refused = Device.Open("cuda");
            Assert.Contains("not elementwise, the driver refuses it (CUDA_ERROR_INVALID_PTX", refused.Description,
                StringComparison.Ordinal);
        }
        finally
        {
            Assert.Equal(0, StandIn.Refuse(false));
        }

        Lose(refused);
        refused.Dispose();
        using Device again = Device.Open("cuda");
        Assert.DoesNotContain("; not ", again.Description, StringComparison.Ordinal);
    }

    [Fact]
    public void OldDriver_IsRefusedInALine()
    {
        try
        {
            Assert.Equal(0, StandIn.SetVersion(10020));
            Lose(Device);
            var error = Assert.Throws<BackendUnavailableException>(() => Device.Open("cuda"));
            Assert.Equal("Backend 'cuda' cannot run here: the NVIDIA driver is of CUDA 10.2; 11.0 or newer is needed.", error.Message);
            Assert.False(Device.Probe().Single(r => r.Name == "cuda").Available);
        }
        finally
        {
            Assert.Equal(0, StandIn.SetVersion(11080));
        }
    }

    // After a failure, what was made for a device is made again.
    private static void Lose(Device device)
    {
        try
        {
            Assert.Equal(0, StandIn.Fail(0, IllegalAddress));
            Assert.Throws<DeviceFailureException>(() => device.From([1], [1]));
        }
        finally
        {
            Assert.Equal(0, StandIn.Fail(0, 0));
        }
    }
}
