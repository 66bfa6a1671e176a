namespace NestedLearning.Models;

/// <summary>Five matrices of one chunk as the columns of one state: the fused <see cref="SelfModifying"/> operation.</summary>
internal sealed class FusedMemories : ISelfModifyingMemories
{
    private const string Memory = "memory", ChunkStart = "chunk_start";
    private readonly int _heads;
    private readonly int _width;
    private readonly SelfModifyingSettings _settings;
    private readonly Parameter _start;

    public FusedMemories(ParameterFactory make, string name, int heads, int width, SelfModifyingSettings settings)
    {
        (_heads, _width, _settings) = (heads, width, settings);
        _start = make.From($"{name}.start", [heads, width, SelfModifyingSettings.StateColumns(width)], Start(make.Random()));
    }

    /// <inheritdoc/>
    public IEnumerable<Parameter> Parameters => [_start];

    /// <inheritdoc/>
    public IEnumerable<StatePart> State =>
    [
        new(Memory, (batch, tokens) => tokens > 0 ? Shape(batch) : null),
        new(ChunkStart, (batch, tokens) => tokens % _settings.Chunk > 0 ? Shape(batch) : null),
    ];

    /// <inheritdoc/>
    public IEnumerable<StateDescription> Describe() =>
    [
        new(
            "self-modifying memories", [Memory], $"{_heads} × 5 memories k, v, mem, η, α, side by side {_width} × " +
            $"{SelfModifyingSettings.StateColumns(_width)}",
            SelfWrittenMemory.ContextFlow, SelfWrittenMemory.Rule(_settings)),
        new("frozen memories", [ChunkStart], "the memories at the chunk's start", "the memories", "S_c ← S", _settings.Chunk),
    ];

    /// <inheritdoc/>
    public (Variable Reads, IEnumerable<(string Name, Tensor Value)> Next) Forward(Tape tape, Variable x, Variable? queries,
        MixerState state)
    {
        ArgumentNullException.ThrowIfNull(queries);
        Variable memory = state[Memory] is { } carried ? tape.UseFirstOrder(_start, carried) : tape.UseStart(_start, Shape(x.Shape[0]));
        Variable? chunkStart = state[ChunkStart] is { } frozen ? tape.UseFirstOrder(_start, frozen) : null;
        SelfModifyingSettings settings = _settings with { Phase = (int)(state.Tokens % _settings.Chunk) };
        SelfModifyingResults results = tape.SelfModifying(x, queries, memory, settings, chunkStart);
        return (results.O, [(Memory, results.S.Value), (ChunkStart, results.ChunkStart.Value)]);
    }

    private Shape Shape(int batch) => [batch, _heads, _width, SelfModifyingSettings.StateColumns(_width)];

    // Keys and values start as random projections; mem as the identity, since a memory that answers every value with
    // zero has zero targets and would never write; the rates start at their biases.
    private float[] Start(CounterRandom random)
    {
        int columns = SelfModifyingSettings.StateColumns(_width);
        float[] start = new float[_heads * _width * columns];
        random.FillNormal(start, 1);
        for (int row = 0; row < _heads * _width; row++)
        {
            Span<float> line = start.AsSpan(row * columns, columns);
            for (int j = 0; j < _width; j++)
            {
                line[j] *= (float)(1 / Math.Sqrt(_width));
                line[_width + j] *= (float)(1 / Math.Sqrt(_width));
                line[2 * _width + j] = j == row % _width ? 1 : 0;
            }

            line[(3 * _width)..].Clear();
        }

        return start;
    }
}
