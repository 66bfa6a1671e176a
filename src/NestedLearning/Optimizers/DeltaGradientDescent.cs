namespace NestedLearning.Optimizers;

/// <summary>
/// Delta gradient descent (NL 56–57, 113–121): each token's error is descended after what the weight answers to its input has
/// been partly erased. For y = x W and dy = ∇_y L of each token of the chunk, in their order,
/// <code>
/// W ← W − η' xᵀ (x W + dy),   η' = η/(1 + η‖x‖²)
/// </code>
/// which is the exact minimiser of ½‖x W + dy‖² + ‖W − W_t‖²/(2η). The dy are those of the weights at the chunk's start, while
/// x W is that of the weights as they are; so a commit is one scan by the delta rule (docs/specification.md, section 1) with keys x,
/// erase η' and writes −η' dy.
/// <para>
/// It works on the factors x and dy that <see cref="Tape.Linear"/> and <see cref="Tape.Mlp"/> leave for a weight used as it
/// stands. Error terms that come without factors (biases and gains, a weight used as its transpose, an embedding's rows, terms
/// given by hand) are descended as in <see cref="GradientDescent"/>. A level's reduction and clipping act on η.
/// </para>
/// </summary>
public sealed class DeltaGradientDescent : Optimizer
{
    /// <inheritdoc/>
    public override string Rule =>
        "Delta gradient descent: W ← W − η' xᵀ(x W + ∇L_y), η' = η/(1 + η‖x‖²), token by token; without x, W ← W − η g";

    /// <summary>A memory without a past, for a parameter that from now on keeps the factors of its error terms if it is a matrix.</summary>
    public override OptimizerMemory CreateMemory(Parameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        if (parameter.Value.Shape.Rank == 2)
            parameter.KeepFactors();
        return new Memory(this);
    }

    private sealed class Memory(DeltaGradientDescent optimizer) : OptimizerMemory(optimizer)
    {
        public override IReadOnlyList<(string Name, Tensor Value)> State => [];

        protected override void Update(Parameter parameter, float learningRate, float errorScale, long commit)
        {
            double rate = (double)learningRate * errorScale;
            foreach ((Tensor x, Tensor dy) in parameter.Factors?.Segments ?? [])
                Write(parameter.Value, x, dy, rate);
            Elementwise.AddScaled((float)-rate, parameter.Error, parameter.Value);
        }

        private static void Write(Tensor weight, Tensor x, Tensor dy, double rate)
        {
            Device device = weight.Device;
            int tokens = x.Shape[0], width = x.Shape[1], outputs = dy.Shape[1];
            if (tokens == 0)
                return;
            float[] erase = SquaredLengths(x);
            for (int t = 0; t < tokens; t++)
                erase[t] = (float)(rate / (1 + rate * erase[t]));
            using Tensor k = x.Reshape([1, tokens, 1, width]), u = dy.Reshape([1, tokens, 1, outputs]), o = device.Empty(u.Shape);
            using Tensor w = weight.Reshape([1, 1, width, outputs]), rates = device.From([1, tokens, 1], erase), writes = rates.Clone();
            device.Backend.Scale(writes, -1);
            Scan.Forward(
                new ScanInputs { Q = k, K = k, U = u, Erase = rates, Theta = writes, S0 = w },
                new ScanSettings(1, ScanRead.After, ScanWrite.Scaled, ScanSettings.DefaultChunk),
                new ScanOutputs { O = o, S = w });
        }

        // ‖x‖² of each row: the squares times a column of ones.
        private static float[] SquaredLengths(Tensor x)
        {
            using Tensor squares = x.Device.Empty(x.Shape), ones = x.Device.Full([x.Shape[1], 1], 1),
                sums = x.Device.Empty([x.Shape[0], 1]);
            Elementwise.Multiply(x, x, squares);
            Gemm.Multiply(new GemmArguments { A = squares, B = ones, C = sums });
            return sums.ToArray();
        }
    }
}
