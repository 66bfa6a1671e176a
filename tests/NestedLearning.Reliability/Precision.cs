using System.Globalization;
using NestedLearning.Testing;

namespace NestedLearning.Reliability;

/// <summary>
/// The largest error of operations against their float64 references over random cases: shapes, settings and data of the kind that the
/// tests have. Relative to the tensor's largest element, and in units of what the tests allow.
/// </summary>
internal static class Precision
{
    private static readonly (string Name, Tolerance Allowed, Action<Draw> Run)[] s_operations =
    [
        ("scan", Tolerances.Scan, draw => Scan(draw, [ScanWrite.Given])),
        ("scan, frozen and scaled writes", Tolerances.ScanFrozen, draw => Scan(draw, [ScanWrite.Scaled, ScanWrite.FrozenL2])),
        ("self-modifying memories", Tolerances.SelfModifying, SelfModifyingMemories),
        ("deep memory", Tolerances.DeepMemory, DeepMemories),
        ("attention", Tolerances.Attention, CausalAttention),
        ("product", Tolerances.Gemm, Product),
        ("norm", Tolerances.Norm, Norms),
        ("convolution", Tolerances.Convolution, Convolution),
        ("activation", Tolerances.Activation, Activations),
        ("cross-entropy", Tolerances.CrossEntropy, Losses),
        ("Adam", Tolerances.Optimizer, Adam),
        ("Newton–Schulz", Tolerances.NewtonSchulz, Orthogonal),
    ];

    public static int Run(int cases, string[] devices)
    {
        if (devices.Length == 0)
            devices = ["cpu", "managed"];
        bool good = true;
        Console.WriteLine($"{cases.ToString("N0", CultureInfo.InvariantCulture)} cases of each\n");
        Console.WriteLine("| operation | backend | largest error | of what is allowed | of gradients | of what is allowed |");
        Console.WriteLine("| --- | --- | ---: | ---: | ---: | ---: |");
        foreach ((string name, Tolerance allowed, Action<Draw> run) in s_operations)
        {
            foreach (string device in devices)
            {
                Errors errors = Measure(run, cases, device);
                good &= errors.Forward <= allowed.Forward && errors.Gradient <= allowed.Gradient;
                Console.WriteLine($"| {name} | {device} | {Text(errors.Forward, allowed.Forward)} | " +
                    $"{Text(errors.Gradient, allowed.Gradient)} |");
            }
        }

        return good ? 0 : 1;
    }

    private static string Text(double error, double allowed) =>
        string.Create(CultureInfo.InvariantCulture, $"{error:0.0e+0} | {error / allowed:0.00}");

    private static Errors Measure(Action<Draw> run, int cases, string device)
    {
        // A device a thread: cases are small.
        var worst = new Errors();
        Parallel.For(0, Environment.ProcessorCount, worker =>
        {
            using Device opened = Device.Open(device);
            opened.Threads = 1;
            var errors = new Errors();
            for (int i = worker; i < cases; i += Environment.ProcessorCount)
            {
                using var draw = new Draw(opened, errors, i);
                run(draw);
            }

            lock (worst)
                worst.Add(errors);
        });
        return worst;
    }

    private static void Scan(Draw draw, ScanWrite[] writes)
    {
        int chunk = draw.Below(1, 40);
        ScanWrite write = draw.Of(writes);
        // Only these rules have a chunk to read the start of.
        ScanRead read = draw.Of(write == ScanWrite.Given ? [ScanRead.After, ScanRead.Before] : Enum.GetValues<ScanRead>());
        var settings = new ScanSettings(draw.Below(1, 9) / 8f, read, write, chunk);
        if (settings.HasMeaningfulChunk && draw.Below(0, 2) == 1)
            settings = settings with { Phase = draw.Below(0, chunk) };
        string gates = draw.Of(["", "a", "e", "ae", "aem", "m", "am"]);
        ScanCase c = ScanCase.Create(draw.Seed, draw.Shape(3, 70, 3, 24, 24), settings, gates, initial: draw.Below(0, 2) == 1);
        Tensor? Optional(Shape shape, double[]? elements) => elements is null ? null : draw.Tensor(shape, elements);
        var inputs = new ScanInputs
        {
            Q = draw.Tensor(c.KeyShape, c.Q), K = draw.Tensor(c.KeyShape, c.K), U = draw.Tensor(c.ValueShape, c.U),
            LogAlpha = Optional(c.GateShape, c.LogAlpha), Erase = Optional(c.GateShape, c.Erase), Mu = Optional(c.GateShape, c.Mu),
            Theta = Optional(c.GateShape, c.Theta), S0 = Optional(c.StateShape, c.S0), P0 = Optional(c.StateShape, c.P0),
            ChunkStart = Optional(c.StateShape, c.ChunkStart),
        };
        Tensor? momenta = c.Mu is null ? null : draw.Result(c.SavedShape);
        var outputs = new ScanOutputs
        {
            O = draw.Result(c.ValueShape), S = draw.Result(c.StateShape), P = c.Mu is null ? null : draw.Result(c.StateShape),
            Saved = new ScanSaved(draw.Result(c.SavedShape), momenta),
        };
        Operations.Scan.Forward(inputs, settings, outputs);
        ScanResult expected = ReferenceScan.Forward(c);
        draw.Forward(outputs.O, expected.O);
        draw.Forward(outputs.S, expected.S);
        double[] dO = draw.Data(c.ValueShape), dS = draw.Data(c.StateShape);
        var gradients = new ScanGradients
        {
            Q = draw.Result(c.KeyShape), K = draw.Result(c.KeyShape), U = draw.Result(c.ValueShape),
            S0 = c.S0 is null ? null : draw.Result(c.StateShape),
        };
        Operations.Scan.Backward(
            inputs, settings, outputs.Saved,
            new ScanOutputGradients(draw.Tensor(c.ValueShape, dO), draw.Tensor(c.StateShape, dS), null), gradients);
        ScanInputGradients d = ReferenceScan.Backward(c, new ScanUpstream(dO, dS, null));
        draw.Gradient(gradients.Q, d.Q);
        draw.Gradient(gradients.K, d.K);
        draw.Gradient(gradients.U, d.U);
        draw.Gradient(gradients.S0, d.S0);
    }

    private static void SelfModifyingMemories(Draw draw)
    {
        var settings = new SelfModifyingSettings(
            draw.Below(1, 33), draw.Of(Enum.GetValues<MemoryObjective>()), draw.Of(Enum.GetValues<ScanRead>()), 0.1f, -1, 2,
            NormalizeValues: draw.Below(0, 2) == 1)
        {
            ExactGradient = draw.Below(0, 2) == 1,
        };
        SelfModifyingCase c = SelfModifyingCase.Create(draw.Seed, draw.Shape(2, 50, 3, 24), settings);
        var inputs = new SelfModifyingInputs
        {
            X = draw.Tensor(c.InputShape, c.X), Q = draw.Tensor(c.InputShape, c.Q), S0 = draw.Tensor(c.StateShape, c.S0),
        };
        Tensor o = draw.Result(c.InputShape), s = draw.Result(c.StateShape), states = draw.Result(c.SavedShape);
        SelfModifying.Forward(inputs, settings, new SelfModifyingOutputs { O = o, S = s, ChunkStates = states });
        SelfModifyingResult expected = ReferenceSelfModifying.Forward(c);
        draw.Forward(o, expected.O);
        draw.Forward(s, expected.S);
        double[] dO = draw.Data(c.InputShape), dS = draw.Data(c.StateShape);
        var gradients = new SelfModifyingGradients
        {
            X = draw.Result(c.InputShape), Q = draw.Result(c.InputShape), S0 = draw.Result(c.StateShape),
        };
        SelfModifying.Backward(
            inputs, settings, states,
            new SelfModifyingOutputGradients(draw.Tensor(c.InputShape, dO), draw.Tensor(c.StateShape, dS)), gradients);
        SelfModifyingInputGradients d = ReferenceSelfModifying.Backward(c, dO, dS, null);
        draw.Gradient(gradients.X, d.X);
        draw.Gradient(gradients.Q, d.Q);
        draw.Gradient(gradients.S0, d.S0);
    }

    private static void DeepMemories(Draw draw)
    {
        var settings = new DeepMemorySettings(
            draw.Below(1, 33), draw.Of(Enum.GetValues<MemoryObjective>()), draw.Of(Enum.GetValues<ScanRead>()), draw.Below(0, 2) == 1);
        DeepMemoryCase c = DeepMemoryCase.Create(draw.Seed, draw.Shape(2, 40, 2, 16, 24), settings, "at");
        var inputs = new DeepMemoryInputs
        {
            Q = draw.Tensor(c.TokenShape, c.Q), K = draw.Tensor(c.TokenShape, c.K), V = draw.Tensor(c.TokenShape, c.V),
            LogAlpha = draw.Tensor(c.GateShape, c.LogAlpha!), Theta = draw.Tensor(c.GateShape, c.Theta!),
            W1 = draw.Tensor(c.Shape1, c.W1), W2 = draw.Tensor(c.Shape2, c.W2),
        };
        var saved = new DeepMemorySaved(draw.Result(c.SavedShape1), draw.Result(c.SavedShape2), null, null);
        var outputs = new DeepMemoryOutputs
        {
            O = draw.Result(c.TokenShape), W1 = draw.Result(c.Shape1), W2 = draw.Result(c.Shape2), Saved = saved,
        };
        DeepMemory.Forward(inputs, settings, outputs);
        DeepMemoryResult expected = ReferenceDeepMemory.Forward(c);
        draw.Forward(outputs.O, expected.O);
        draw.Forward(outputs.W1, expected.Final.W1);
        draw.Forward(outputs.W2, expected.Final.W2);
        double[] dO = draw.Data(c.TokenShape);
        var gradients = new DeepMemoryGradients
        {
            Q = draw.Result(c.TokenShape), K = draw.Result(c.TokenShape), V = draw.Result(c.TokenShape), W1 = draw.Result(c.Shape1),
        };
        double[] dW1 = draw.Data(c.Shape1), dW2 = draw.Data(c.Shape2), none1 = new double[dW1.Length], none2 = new double[dW2.Length];
        DeepMemory.Backward(
            inputs, settings, saved, new DeepMemoryOutputGradients
            {
                O = draw.Tensor(c.TokenShape, dO), W1 = draw.Tensor(c.Shape1, dW1), W2 = draw.Tensor(c.Shape2, dW2),
            },
            gradients);
        DeepMemoryInputGradients d = ReferenceDeepMemory.Backward(c, dO, new DeepMemoryState(dW1, dW2, none1, none2, none1, none2));
        draw.Gradient(gradients.Q, d.Q);
        draw.Gradient(gradients.K, d.K);
        draw.Gradient(gradients.V, d.V);
        draw.Gradient(gradients.W1, d.Initial.W1);
    }

    private static void CausalAttention(Draw draw)
    {
        int time = draw.Below(1, 80), keys = time + draw.Below(0, 30);
        AttentionCase c = AttentionCase.Create(
            draw.Seed, [draw.Below(1, 3), time, Math.Max(keys, 2), draw.Below(1, 4), draw.Below(1, 40), draw.Below(1, 40)]);
        var inputs = new AttentionInputs { Q = draw.Tensor(c.QShape, c.Q), K = draw.Tensor(c.KShape, c.K), V = draw.Tensor(c.VShape, c.V) };
        var outputs = new AttentionOutputs { O = draw.Result(c.OShape), LogSums = draw.Result(c.SumShape) };
        Attention.Forward(inputs, new AttentionSettings(c.Scale), outputs);
        draw.Forward(outputs.O, ReferenceAttention.Forward(c).O);
        var gradients = new AttentionGradients { Q = draw.Result(c.QShape), K = draw.Result(c.KShape), V = draw.Result(c.VShape) };
        Attention.Backward(inputs, new AttentionSettings(c.Scale), outputs, draw.Tensor(c.OShape, c.DOutput), gradients);
        (double[] q, double[] k, double[] v) = ReferenceAttention.Backward(c);
        draw.Gradient(gradients.Q, q);
        draw.Gradient(gradients.K, k);
        draw.Gradient(gradients.V, v);
    }

    private static void Product(Draw draw)
    {
        (int m, int n, int k) = (draw.Below(1, 90), draw.Below(1, 90), draw.Below(1, 200));
        (bool ta, bool tb) = (draw.Below(0, 2) == 1, draw.Below(0, 2) == 1);
        Shape shapeA = ta ? [k, m] : [m, k], shapeB = tb ? [n, k] : [k, n];
        double[] a = draw.Data(shapeA), b = draw.Data(shapeB);
        Tensor c = draw.Result([m, n]);
        Tensor left = draw.Tensor(shapeA, a), right = draw.Tensor(shapeB, b);
        Gemm.Multiply(new GemmArguments { A = left, TransposeA = ta, B = right, TransposeB = tb, C = c });
        draw.Forward(c, ReferenceDense.Product(m, n, k, a, ta, b, tb, null));
    }

    private static void Norms(Draw draw)
    {
        NormKind kind = draw.Of(Enum.GetValues<NormKind>());
        // The gradient of a row of one or two is what rounding leaves of a difference that is 0.
        int width = draw.Below(8, 130);
        Shape shape = [draw.Below(1, 41), width];
        double[] x = draw.Data(shape), dy = draw.Data(shape);
        double[]? gain = kind == NormKind.L2 ? null : draw.Data([width]), bias = kind == NormKind.Layer ? draw.Data([width]) : null;
        Tensor input = draw.Tensor(shape, x), y = draw.Result(shape), dx = draw.Result(shape);
        Tensor? scale = gain is null ? null : draw.Tensor([width], gain);
        Norm.Forward(kind, input, scale, bias is null ? null : draw.Tensor([width], bias), 1e-5f, y);
        draw.Forward(y, ReferenceDense.Norm(kind, x, width, gain, bias, 1e-5f));
        Norm.Backward(kind, input, scale, 1e-5f, draw.Tensor(shape, dy), dx, null, null);
        draw.Gradient(dx, ReferenceDense.NormBackward(kind, x, width, gain, 1e-5f, dy).X);
    }

    private static void Convolution(Draw draw)
    {
        Shape shape = draw.Shape(3, 40, 50);
        int width = shape[2];
        Shape weights = [width, CausalConvolution.Width];
        double[] x = draw.Data(shape), w = draw.Data(weights), dy = draw.Data(shape);
        Tensor input = draw.Tensor(shape, x), weight = draw.Tensor(weights, w), y = draw.Result(shape), dx = draw.Result(shape);
        CausalConvolution.Forward(input, weight, null, null, y, null);
        draw.Forward(y, ReferenceDense.Convolution(shape[0], shape[1], width, x, w, null, null).Y);
        CausalConvolution.Backward(input, weight, null, draw.Tensor(shape, dy), dx, null, null);
        draw.Gradient(dx, ReferenceDense.ConvolutionBackward(shape[0], shape[1], width, x, w, null, dy).X);
    }

    private static void Activations(Draw draw)
    {
        Activation activation = draw.Of(Enum.GetValues<Activation>());
        Shape shape = draw.Shape(300);
        double[] x = Compare.ToDouble(draw.Numbers.Normal(shape, 4)), dy = draw.Data(shape);
        Tensor input = draw.Tensor(shape, x), y = draw.Result(shape), dx = draw.Result(shape);
        Elementwise.ActivationForward(activation, input, y);
        draw.Forward(y, Array.ConvertAll(x, v => ReferenceDense.Activate(activation, v)));
        Elementwise.ActivationBackward(activation, input, draw.Tensor(shape, dy), dx);
        draw.Gradient(dx, [.. x.Zip(dy, (v, d) => d * ReferenceDense.ActivateDerivative(activation, v))]);
    }

    private static void Losses(Draw draw)
    {
        Shape shape = draw.Shape(20, 300);
        double[] logits = Compare.ToDouble(draw.Numbers.Normal(shape, 3)), dLosses = draw.Data([shape[0]]);
        int[] targets = draw.Numbers.Below(shape[0], shape[1]);
        Tensor input = draw.Tensor(shape, logits), losses = draw.Result([shape[0]]), logSums = draw.Result([shape[0]]);
        Tensor d = draw.Result(shape);
        using IndexTensor indices = draw.Device.FromIndices([shape[0]], targets);
        CrossEntropy.Forward(input, indices, losses, logSums);
        draw.Forward(losses, ReferenceDense.CrossEntropy(logits, targets, shape[1]).Losses);
        CrossEntropy.Backward(input, indices, logSums, draw.Tensor([shape[0]], dLosses), d);
        draw.Gradient(d, ReferenceDense.CrossEntropyBackward(logits, targets, shape[1], dLosses));
    }

    private static void Adam(Draw draw)
    {
        Shape shape = draw.Shape(400);
        double[] w = draw.Data(shape), g = draw.Data(shape), m = draw.Data(shape), v = [.. draw.Data(shape).Select(x => x * x)];
        var settings = new AdamSettings(
            1e-3f, 0.9, 0.999, 1e-8f, 0.01f, Decoupled: draw.Below(0, 2) == 1, Step: draw.Below(1, 1000), GradientScale: 1);
        Tensor weights = draw.Tensor(shape, w), first = draw.Tensor(shape, m);
        AdamCommit.Apply(weights, draw.Tensor(shape, g), first, draw.Tensor(shape, Array.ConvertAll(v, x => (double)(float)x)), settings);
        ReferenceDense.Adam(w, g, m, Array.ConvertAll(v, x => (double)(float)x), settings);
        draw.Forward(weights, w);
        draw.Forward(first, m);
    }

    private static void Orthogonal(Draw draw)
    {
        Shape shape = draw.Shape(40, 40);
        double[] g = draw.Data(shape);
        Tensor result = draw.Result(shape);
        NewtonSchulz.Orthogonalize(draw.Tensor(shape, g), result);
        draw.Forward(result, ReferenceDense.NewtonSchulz(shape[0], shape[1], g, 5));
    }

    /// <summary>The largest errors so far.</summary>
    private sealed class Errors
    {
        public double Forward { get; set; }

        public double Gradient { get; set; }

        public void Add(Errors other) => (Forward, Gradient) = (Math.Max(Forward, other.Forward), Math.Max(Gradient, other.Gradient));
    }

    /// <summary>One case: its random numbers, and the tensors that go with it.</summary>
    private sealed class Draw(Device device, Errors errors, int number) : IDisposable
    {
        private readonly Random _random = new(number);
        private readonly List<Tensor> _tensors = [];

        public Device Device => device;

        public ulong Seed => (ulong)number;

        public TestData Numbers { get; } = new((ulong)number + 1_000_000_007);

        public int Below(int first, int end) => _random.Next(first, end);

        public T Of<T>(T[] values) => values[_random.Next(values.Length)];

        /// <summary>Axes of 1 to these lengths.</summary>
        public Shape Shape(params int[] most) => new(Array.ConvertAll(most, length => Below(1, length + 1)));

        public double[] Data(Shape shape) => Compare.ToDouble(Numbers.Normal(shape));

        public Tensor Tensor(Shape shape, double[] elements) => Own(device.From(shape, Array.ConvertAll(elements, e => (float)e)));

        public Tensor Result(Shape shape) => Own(device.Zeros(shape));

        public void Forward(Tensor actual, double[] expected) =>
            errors.Forward = Math.Max(errors.Forward, Compare.RelativeError(actual.ToArray(), expected));

        public void Gradient(Tensor? actual, double[] expected)
        {
            if (actual is not null)
                errors.Gradient = Math.Max(errors.Gradient, Compare.RelativeError(actual.ToArray(), expected));
        }

        public void Dispose()
        {
            foreach (Tensor tensor in _tensors)
                tensor.Dispose();
        }

        private Tensor Own(Tensor tensor)
        {
            _tensors.Add(tensor);
            return tensor;
        }
    }
}
