using System.Reflection;
using NestedLearning.Gpu;
using NestedLearning.Gpu.Cuda;
using NestedLearning.Testing;
using NestedLearning.Tests;
using Xunit;

namespace NestedLearning.Cuda.Tests;

/// <summary>
/// Operations that hand-written kernels do not take, beside <see cref="FallbackScanTests"/> and <see cref="WithoutPtxTests"/>: the reason,
/// ILGPU's results bit for bit, and no launch by hand.
/// </summary>
public sealed class FallbackTests() : BackendTests(HybridBackendProvider.Some)
{
    [Fact]
    public void WithHandWrittenKernels_NothingIsTold_ButWhatLacksItsFile()
    {
        using var listener = new FallbackListener();
        int before = StandIn.Launches();
        EveryOperation(Device);
        Assert.NotEqual(before, StandIn.Launches());
        const string Reason = "the kernels of elementwise.ptx do not run here: this build was made without it (sm_80)";
        Assert.All(listener.Of(Device.Name), f => Assert.Equal(Reason, f.Reason));
        Assert.Equal(
            ["ActivationBackward", "ActivationForward", "AddScaled", "Fill", "Multiply", "Scale", "SumsOfSquares"],
            listener.Of(Device.Name).Select(f => f.Operation).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData(65, 4, "chunks have 65 tokens and can have 64")]
    [InlineData(2, 129, "keys have 129 elements and can have 128")]
    public void SelfModifyingMemories_OfSomeShapes_AreNotTaken(int chunk, int dim, string reason) =>
        SelfModifyingFallsBack(Device, chunk, dim, reason, reason);

    [Fact]
    public void SelfModifyingMemories_BeyondSharedMemory_AreNotTaken()
    {
        using Device device = Device.Open(HybridBackendProvider.SmallShared);
        int needed = ScanKernels.SharedBytes(128, momentum: false);
        string reason = $"a block needs {needed} bytes of shared memory and can have {99 << 10} on this device";
        SelfModifyingFallsBack(device, 2, 128, reason, reason);
    }

    // There are kernels for that, but they are ILGPU's.
    [Fact]
    public void SelfModifyingMemories_OfAFewTokens_AreNotTaken()
    {
        using var listener = new FallbackListener();
        using Device ilgpu = Device.Open("ilgpu-cpu");
        SelfModifyingCase c = SelfModifyingCase.Create(4, [1, 8, 2, 5], Settings(4));
        int before = StandIn.Launches();
        Compare.SameBits("o", Run(Device), Run(ilgpu));
        Assert.Equal(before, StandIn.Launches());
        Assert.Equal(
            [new("SelfModifyingForward", "8 tokens whose states are not saved are few enough for ILGPU's two launches a chunk")],
            listener.Of(Device.Name).Where(f => f.Operation.StartsWith("Self", StringComparison.Ordinal)));

        float[] Run(Device device)
        {
            using var t = new Tensors(device);
            var outputs = new SelfModifyingOutputs { O = t.Nan(c.InputShape), S = t.Nan(c.StateShape) };
            SelfModifying.Forward(Inputs(t, c), c.Settings, outputs);
            return [.. outputs.O.ToArray(), .. outputs.S.ToArray()];
        }
    }

    [Fact]
    public void ProductsBeyondSharedMemory_AreNotTaken()
    {
        using Device device = Device.Open(HybridBackendProvider.LeastShared), ilgpu = Device.Open("ilgpu-cpu");
        device.TensorCores = TensorCores.TensorFloat32;
        using var listener = new FallbackListener();
        int before = StandIn.Launches();
        Compare.SameBits("products", Run(device), Run(ilgpu));
        Assert.Equal(before, StandIn.Launches());
        // Tiles of 64 where there are few of 128; a batch of two has enough of those for one multiprocessor.
        string small = Reason(64), large = Reason(128);
        Assert.Equal(
            [new("Gemm", small), new("BatchedGemm", large), new("GemmAdamCommit", small)],
            listener.Of(device.Name).Where(f => f.Operation.Contains("Gemm", StringComparison.Ordinal)));

        static string Reason(int tile) =>
            $"a block needs {GemmKernels.SharedBytes(TensorCores.TensorFloat32, tile)} bytes of shared memory and can have {16 << 10} " +
            "on this device";

        static float[] Run(Device device)
        {
            using var t = new Tensors(device);
            return [.. Products(device, t).SelectMany(p => p.Elements)];
        }
    }

    // The whole way from the driver's own answer.
    [Fact]
    public void AFileThatIsNotInTheBuild_IsNamedByTheProbe()
    {
        var provider = new CudaBackendProvider("cuda-without-gemm", HybridBackendProvider.Without("gemm"));
        Assert.SkipUnless(Device.Probe().Single(r => r.Name == "cuda").Available, "The stand-in driver is not built.");
        string detail = provider.Probe().Detail;
        Assert.Contains("; not gemm, this build was made without it (sm_80)", detail, StringComparison.Ordinal);
        Assert.Contains("hand-written CUDA (sm_80): adam, cross_entropy, elementwise, gemm_adam, scan, ", detail, StringComparison.Ordinal);
    }

    private static void SelfModifyingFallsBack(Device device, int chunk, int dim, string forward, string backward)
    {
        using Device ilgpu = Device.Open("ilgpu-cpu");
        using var listener = new FallbackListener();
        int time = dim > 100 ? 3 : 70;
        SelfModifyingCase c = SelfModifyingCase.Create(3, [1, time, 1, dim], Settings(chunk));
        int before = StandIn.Launches();
        List<(string Name, float[] Elements)> actual = Run(device), expected = Run(ilgpu);
        Assert.Equal(before, StandIn.Launches());
        for (int i = 0; i < expected.Count; i++)
            Compare.SameBits(expected[i].Name, actual[i].Elements, expected[i].Elements);
        SelfModifyingResult reference = ReferenceSelfModifying.Forward(c);
        Compare.Close("o", actual[0].Elements, reference.O, Tolerances.SelfModifying.Forward);
        Compare.Close("s", actual[1].Elements, reference.S, Tolerances.SelfModifying.Forward);
        Assert.Equal(
            [new("SelfModifyingForward", forward), new("SelfModifyingBackward", backward)],
            listener.Of(device.Name).Where(f => f.Operation.StartsWith("Self", StringComparison.Ordinal)));

        List<(string Name, float[] Elements)> Run(Device on)
        {
            using var t = new Tensors(on);
            return SelfModifyingMemories(t, c);
        }
    }

    internal static List<(string Name, float[] Elements)> EveryOperation(Device device)
    {
        using var t = new Tensors(device);
        Backend backend = device.Backend;
        var results = new List<(string, float[])>();
        Tensor x = t.Normal(1, [3, 7]), y = t.Normal(2, [3, 7]), z = t.Nan([3, 7]);
        backend.Fill(z, 2);
        Add("fill", z);
        backend.ActivationForward(Activation.Gelu, x, z);
        Add("activation", z);
        backend.ActivationBackward(Activation.Gelu, x, y, z);
        Add("activation's gradient", z);
        backend.AddScaled(0.5f, x, y);
        backend.Multiply(x, y, z);
        backend.Scale(x, 3);
        Add("y", y);
        Add("product", z);
        Add("x", x);
        double[] squares = new double[2];
        backend.SumsOfSquares([x, y], squares);
        results.Add(("squares", [.. squares.Select(s => (float)s)]));
        results.AddRange(Products(device, t));

        AdamTensors adam = new(t.Normal(3, [50]), t.Normal(4, [50]), t.Zeros([50]), t.Zeros([50]));
        var changes = new CommitChange[1];
        backend.AdamCommit([adam], [new(0.01f, 0.9, 0.999, 1e-8f, 0, Decoupled: true, Step: 1, GradientScale: 1)], changes);
        Add("w", adam.W);
        results.Add(("changes", [(float)changes[0].Change, (float)changes[0].Value]));

        Tensor logits = t.Normal(5, [4, 9]), losses = t.Nan([4]), logSums = t.Nan([4]), ones = t.Zeros([4]), gradient = t.Nan([4, 9]);
        using IndexTensor targets = device.FromIndices([4], [1, 8, -1, 0]);
        backend.Fill(ones, 1);
        backend.CrossEntropyForward(logits, targets, losses, logSums);
        Add("losses", losses);
        backend.CrossEntropyBackward(logits, targets, logSums, ones, gradient);
        Add("gradient of logits", gradient);
        backend.CrossEntropyWithGradient(logits, targets, 0.5f, losses, gradient);
        Add("half of it", gradient);

        ScanInputs inputs = new() { Q = t.Normal(6, [1, 12, 2, 3]), K = t.Normal(7, [1, 12, 2, 3]), U = t.Normal(8, [1, 12, 2, 5]) };
        var settings = new ScanSettings(0.5f, ScanRead.After, ScanWrite.Given, 4);
        var saved = new ScanSaved(t.Nan([1, 2, 3, 3, 5]), null);
        var outputs = new ScanOutputs { O = t.Nan([1, 12, 2, 5]), S = t.Nan([1, 2, 3, 5]), Saved = saved };
        backend.ScanForward(inputs, settings, outputs);
        Add("scan", outputs.O);
        var gradients = new ScanGradients { Q = t.Nan([1, 12, 2, 3]), U = t.Nan([1, 12, 2, 5]) };
        backend.ScanBackward(inputs, settings, saved, new ScanOutputGradients(outputs.O, null, null), gradients);
        Add("scan's dq", gradients.Q);
        Add("scan's du", gradients.U);
        results.AddRange(SelfModifyingMemories(t, SelfModifyingCase.Create(9, [1, 12, 2, 3], Settings(4))));
        return results;

        void Add(string name, Tensor tensor) => results.Add((name, tensor.ToArray()));
    }

    private static List<(string Name, float[] Elements)> Products(Device device, Tensors t)
    {
        Tensor x = t.Normal(10, [6, 5]), w = t.Normal(11, [5, 4]), y = t.Nan([6, 4]), batch = t.Nan([2, 3, 4]);
        device.Backend.Gemm(new Operations.GemmArguments { A = x, B = w, C = y });
        device.Backend.BatchedGemm(x.Reshape([2, 3, 5]), t.Normal(12, [2, 5, 4]), batch, false, false, false);
        Tensor m = t.Zeros([5, 4]), v = t.Zeros([5, 4]);
        device.Backend.GemmAdamCommit(x, y, null, w, m, v, new(0.01f, 0.9, 0.999, 1e-8f, 0, Decoupled: true, Step: 1, GradientScale: 1));
        return [("product", y.ToArray()), ("batch", batch.ToArray()), ("committed", w.ToArray()), ("m", m.ToArray()), ("v", v.ToArray())];
    }

    private static List<(string Name, float[] Elements)> SelfModifyingMemories(Tensors t, SelfModifyingCase c)
    {
        SelfModifyingInputs inputs = Inputs(t, c);
        var outputs = new SelfModifyingOutputs { O = t.Nan(c.InputShape), S = t.Nan(c.StateShape), ChunkStates = t.Nan(c.SavedShape) };
        SelfModifying.Forward(inputs, c.Settings, outputs);
        var gradients = new SelfModifyingGradients { X = t.Nan(c.InputShape), Q = t.Nan(c.InputShape), S0 = t.Nan(c.StateShape) };
        SelfModifying.Backward(
            inputs, c.Settings, outputs.ChunkStates, new SelfModifyingOutputGradients(t.Normal(13, c.InputShape)), gradients);
        return
        [
            ("o", outputs.O.ToArray()), ("s", outputs.S.ToArray()), ("dx", gradients.X.ToArray()), ("dq", gradients.Q.ToArray()),
            ("ds0", gradients.S0.ToArray()),
        ];
    }

    private static SelfModifyingSettings Settings(int chunk) =>
        new(chunk, MemoryObjective.L2, ScanRead.After, EtaScale: 0.3f, EtaBias: -1, AlphaBias: 3);

    private static SelfModifyingInputs Inputs(Tensors t, SelfModifyingCase c) =>
        new() { X = t.From(c.InputShape, c.X), Q = t.From(c.InputShape, c.Q), S0 = t.From(c.StateShape, c.S0) };

    // Tensors of a device that go with it.
    private sealed class Tensors(Device device) : IDisposable
    {
        private readonly List<Tensor> _all = [];

        public Tensor Nan(Shape shape) => Keep(device.Full(shape, float.NaN));

        public Tensor Zeros(Shape shape) => Keep(device.Zeros(shape));

        public Tensor Normal(ulong seed, Shape shape) => Keep(device.From(shape, new TestData(seed).Normal(shape)));

        public Tensor From(Shape shape, double[] elements) => Keep(device.From(shape, Array.ConvertAll(elements, e => (float)e)));

        public void Dispose() => _all.ForEach(t => t.Dispose());

        private Tensor Keep(Tensor tensor)
        {
            _all.Add(tensor);
            return tensor;
        }
    }
}
