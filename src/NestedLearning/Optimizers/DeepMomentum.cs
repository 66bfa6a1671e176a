namespace NestedLearning.Optimizers;

/// <summary>
/// Deep momentum gradient descent (DMGD, NL 50): the momentum is a deep memory M(x) = φ(x W₂) W₁ of docs/specification.md, section 2. At
/// each commit it is taught, one row a token, to answer the rows of g with those of P g; then it is asked for all of them:
/// <code>
/// k = g/s,   s = ‖g‖_F/√r   (rows of length one on average, whatever the gradient's scale)
/// M ← α M − θ ∇ Σ over the rows of ½‖M(k) − P k‖²   (or −⟨M(k), P k⟩)
/// W ← W − η s M(k)
/// </code>
/// With P = I the memory reproduces what gradients have in common with those before them, and learns nothing from what does not
/// come again. NL has the sign and η in the targets and W ← W + m(g).
/// </summary>
public sealed class DeepMomentum : Optimizer
{
    /// <summary>The most hidden units.</summary>
    public const int MaxHidden = 65_536;

    /// <summary>N, the memory's hidden units, 1 to <see cref="MaxHidden"/>; its state is 2 N numbers for each column of the
    /// parameter.</summary>
    public int Hidden { get; init; } = 64;

    /// <summary>α, what a commit keeps of the memory, above 0 and at most 1. Below 1 it acts on both layers.</summary>
    public double Decay { get; init; } = 1;

    /// <summary>The inner learning rate of the mean over a chunk's rows and over the hidden units: θ = rate/(rows N).</summary>
    public float InnerRate { get; init; } = 1;

    /// <summary>ε, 0 to 1: what each row erases of what its layer inputs are answered, before it is written.</summary>
    public float Erase { get; init; }

    /// <summary>The inner objective.</summary>
    public MemoryObjective Objective { get; init; } = MemoryObjective.L2;

    /// <summary>Whether M(x) = x + φ(x W₂) W₁: what is learned is then added to the gradient itself.</summary>
    public bool Residual { get; init; }

    /// <summary>P, a memory of k.</summary>
    public Preconditioner Preconditioner { get; init; } = Preconditioner.Identity;

    /// <summary>
    /// Chooses the first layer that the memory starts from; each parameter has its own by its name. The second starts as zero.
    /// </summary>
    public ulong Seed { get; init; }

    /// <inheritdoc/>
    public override string Rule
    {
        get
        {
            string memory = Residual ? "k + φ(k W₂) W₁" : "φ(k W₂) W₁", target = Preconditioner.Rule.Length > 0 ? "P k" : "k";
            string loss = Objective == MemoryObjective.L2 ? $"½‖M(k) − {target}‖²" : $"−⟨M(k), {target}⟩";
            return Readable.Text(
                $"Deep momentum: M(k) = {memory}, M ← α M − θ ∇{loss} over the rows k of g/s, W ← W − η s M(g/s); {Hidden} hidden, α = " +
                $"{Decay}, θ = {InnerRate}/rows/hidden, ε = {Erase}{(Preconditioner.Rule.Length > 0 ? $"; {Preconditioner.Rule}" : "")}");
        }
    }

    /// <inheritdoc/>
    public override void Validate()
    {
        if (Hidden is < 1 or > MaxHidden)
            throw new ArgumentOutOfRangeException(nameof(Hidden), Hidden, $"Hidden is {Hidden}, expected 1 to {MaxHidden}.");
        Require.Above((float)Decay, 0, nameof(Decay));
        Require.InRange((float)Decay, 0, 1, nameof(Decay));
        Require.Above(InnerRate, 0);
        Require.InRange(Erase, 0, 1);
        Preconditioner.Validate();
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The parameter is not a matrix, or a setting is out of its range.</exception>
    public override OptimizerMemory CreateMemory(Parameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        Validate();
        Require.Matrix(parameter, "Deep momentum");
        return new Memory(this, parameter, Preconditioner.CreateMemory(parameter));
    }

    private sealed class Memory : OptimizerMemory
    {
        private readonly DeepMomentum _optimizer;
        private readonly PreconditionerMemory _preconditioner;
        private readonly ulong _seed;
        private readonly Tensor _w1;
        private readonly Tensor _w2;

        public Memory(DeepMomentum optimizer, Parameter parameter, PreconditionerMemory preconditioner)
            : base(optimizer)
        {
            Device device = parameter.Value.Device;
            int columns = parameter.Value.Shape[1];
            _optimizer = optimizer;
            _preconditioner = preconditioner;
            _seed = SeedFor(parameter, optimizer.Seed);
            _w1 = device.Zeros([1, 1, optimizer.Hidden, columns]);
            _w2 = device.Zeros([1, 1, columns, optimizer.Hidden]);
            State = [("w1", _w1), ("w2", _w2), .. preconditioner.State];
        }

        public override IReadOnlyList<(string Name, Tensor Value)> State { get; }

        public override IReadOnlyList<OptimizerMemoryLevel> Levels =>
            [new("w1, w2", Period: 1, Bytes(_w1, _w2)), .. _preconditioner.Levels];

        protected override void Update(Parameter parameter, float learningRate, float errorScale, long commit)
        {
            if (commit == 1)
                Start();
            Tensor weight = parameter.Value;
            int rows = weight.Shape[0];
            double norm = GlobalNorm.Of(parameter.Error), scale = Math.Abs((double)errorScale) * norm / Math.Sqrt(rows);
            if (scale == 0)
                return;
            using Tensor keys = parameter.Error.Clone();
            GlobalNorm.Normalize(keys, norm, Math.CopySign(Math.Sqrt(rows), errorScale));
            using Tensor targets = keys.Clone();
            _preconditioner.Precondition(targets, commit);
            Teach(keys, targets);
            using Tensor answers = Ask(keys);
            Elementwise.AddScaled((float)(-learningRate * scale), answers, weight);
        }

        // Unit normal weights: rows of length one then meet each hidden unit with a unit normal input.
        private void Start()
        {
            float[] first = new float[_w2.Count];
            new CounterRandom(_seed, 0).FillNormal(first, 1);
            _w2.CopyFrom(first);
        }

        private void Teach(Tensor keys, Tensor targets)
        {
            Device device = keys.Device;
            int rows = keys.Shape[0], columns = keys.Shape[1], chunk = Math.Min(rows, ScanSettings.MaxChunk);
            Shape gates = [1, rows, 1];
            using Tensor k = keys.Reshape([1, rows, 1, columns]), v = targets.Reshape(k.Shape), o = device.Empty(k.Shape);
            using Tensor theta = device.Full(gates, _optimizer.InnerRate / chunk / _optimizer.Hidden);
            using Tensor? logAlpha = _optimizer.Decay < 1 ? device.Full(gates, (float)(Math.Log(_optimizer.Decay) / rows)) : null;
            using Tensor? erase = _optimizer.Erase > 0 ? device.Full(gates, _optimizer.Erase) : null;
            DeepMemory.Forward(
                new DeepMemoryInputs { Q = k, K = k, V = v, LogAlpha = logAlpha, Theta = theta, Erase = erase, W1 = _w1, W2 = _w2 },
                new DeepMemorySettings(chunk, _optimizer.Objective, ScanRead.After, _optimizer.Residual),
                new DeepMemoryOutputs { O = o, W1 = _w1, W2 = _w2 });
        }

        // M(k) of all rows by the memory as it is now.
        private Tensor Ask(Tensor keys)
        {
            Device device = keys.Device;
            int columns = keys.Shape[1], hidden = _optimizer.Hidden;
            Tensor answers = device.Empty(keys.Shape);
            using Tensor w1 = _w1.Reshape([hidden, columns]), w2 = _w2.Reshape([columns, hidden]),
                h = device.Empty([keys.Shape[0], hidden]);
            Gemm.Multiply(new GemmArguments { A = keys, B = w2, C = h, Epilogue = Epilogue.Gelu });
            Gemm.Multiply(new GemmArguments { A = h, B = w1, C = answers, Residual = _optimizer.Residual ? keys : null });
            return answers;
        }
    }
}
