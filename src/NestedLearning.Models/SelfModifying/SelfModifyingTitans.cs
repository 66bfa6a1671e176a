namespace NestedLearning.Models;

/// <summary>
/// x + SelfModifyingTitans(norm x) (spec section 6): a causal convolution and an input projection, then for each head
/// five matrix memories that make their own keys, values, rates, decays and targets, then an output projection.
/// </summary>
internal sealed class SelfModifyingTitans : ITokenMixer
{
    private const string Memory = "memory", ChunkStart = "chunk_start", Convolution = "convolution";
    private readonly int _heads;
    private readonly int _dim;
    private readonly SelfModifyingSettings _settings;
    private readonly Parameter _norm;
    private readonly Parameter _convolution;
    private readonly Parameter _input;
    private readonly Parameter _query;
    private readonly Parameter _start;
    private readonly Parameter _readNorm;
    private readonly Parameter _output;

    public SelfModifyingTitans(ParameterFactory make, string name, ModelConfiguration configuration, double outputDeviation)
    {
        _dim = configuration.Dim;
        _heads = configuration.Heads;
        _settings = new SelfModifyingSettings(
            configuration.MemoryChunk, configuration.Objective, ScanRead.Before, configuration.EtaScale, configuration.EtaBias, configuration.AlphaBias, NormalizeValues: true);
        int width = _dim / _heads;
        double deviation = 1 / Math.Sqrt(_dim);
        _norm = make.Constant($"{name}.norm", [_dim], 1);
        _convolution = make.From($"{name}.convolution", [_dim, Dense.ConvolutionWidth], LastTap(make.Random()));
        _input = make.Normal($"{name}.input", [_dim, _dim], deviation);
        _query = make.Normal($"{name}.query", [_dim, _dim], deviation);
        _start = make.From($"{name}.start", [_heads, width, SelfModifyingSettings.StateColumns(width)], Start(make.Random(), width));
        _readNorm = make.Constant($"{name}.read_norm", [width], 1);
        _output = make.Normal($"{name}.output", [_dim, _dim], outputDeviation * deviation);
    }

    /// <inheritdoc/>
    public IEnumerable<Parameter> Parameters => [_norm, _convolution, _input, _query, _start, _readNorm, _output];

    /// <inheritdoc/>
    public IReadOnlyList<StatePart> State =>
    [
        new(Memory, (batch, tokens) => tokens > 0 ? MemoryShape(batch) : null),
        new(ChunkStart, (batch, tokens) => tokens % _settings.Chunk > 0 ? MemoryShape(batch) : null),
        new(Convolution, (batch, _) => [batch, Dense.ConvolutionWidth - 1, _dim], OutlivesContext: true),
    ];

    /// <inheritdoc/>
    public (Variable Y, MixerState Next) Forward(Tape tape, Variable x, MixerState state)
    {
        int batch = x.Shape[0], time = x.Shape[1];
        Shape split = [batch, time, _heads, _dim / _heads];
        Tensor convolution = state[Convolution]!;
        Tensor nextConvolution = tape.Keep(tape.Device.Empty(convolution.Shape));
        Variable mixed = tape.CausalConvolution(tape.Norm(NormKind.Rms, x, tape.Use(_norm)), tape.Use(_convolution), null, convolution, nextConvolution);
        // Inputs of length one: values and targets are products of memories with them, and would feed on their own
        // growth if the memories' inputs were longer than the keys.
        Variable input = Heads(tape, mixed, _input, split), query = Heads(tape, mixed, _query, split);
        Variable memory = state[Memory] is { } carried ? tape.UseFirstOrder(_start, carried) : tape.UseStart(_start, MemoryShape(batch));
        Variable? chunkStart = state[ChunkStart] is { } frozen ? tape.UseFirstOrder(_start, frozen) : null;
        SelfModifyingSettings settings = _settings with { Phase = (int)(state.Tokens % _settings.Chunk) };
        SelfModifyingResults results = tape.SelfModifying(input, query, memory, settings, chunkStart);
        Variable normed = tape.Reshape(tape.Norm(NormKind.Rms, results.O, tape.Use(_readNorm)), x.Shape);
        Variable y = tape.Linear(normed, tape.Use(_output), residual: x);
        return (y, state.After(time, [(Memory, results.S.Value), (ChunkStart, results.ChunkStart.Value), (Convolution, nextConvolution)]));
    }

    // The five memories side by side.
    private Shape MemoryShape(int batch) => [batch, _heads, _dim / _heads, SelfModifyingSettings.StateColumns(_dim / _heads)];

    private static Variable Heads(Tape tape, Variable x, Parameter projection, Shape split) =>
        tape.Norm(NormKind.L2, tape.Reshape(tape.Linear(x, tape.Use(projection)), split), epsilon: SelfModifyingSettings.NormEpsilon);

    // The convolution starts as the identity with a little of the tokens before.
    private float[] LastTap(CounterRandom random)
    {
        float[] weights = new float[_dim * Dense.ConvolutionWidth];
        random.FillNormal(weights, 0.1f);
        for (int d = 0; d < _dim; d++)
            weights[d * Dense.ConvolutionWidth + Dense.ConvolutionWidth - 1] += 1;
        return weights;
    }

    // Keys and values start as random projections; mem as the identity, since a memory that answers every value with
    // zero has zero targets and would never write; the rates start at their biases.
    private float[] Start(CounterRandom random, int width)
    {
        int columns = SelfModifyingSettings.StateColumns(width);
        float[] start = new float[_heads * width * columns];
        random.FillNormal(start, 1);
        for (int row = 0; row < _heads * width; row++)
        {
            Span<float> line = start.AsSpan(row * columns, columns);
            for (int j = 0; j < width; j++)
            {
                line[j] *= (float)(1 / Math.Sqrt(width));
                line[width + j] *= (float)(1 / Math.Sqrt(width));
                line[2 * width + j] = j == row % width ? 1 : 0;
            }

            line[(3 * width)..].Clear();
        }

        return start;
    }
}
