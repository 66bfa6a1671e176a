namespace NestedLearning.Models;

/// <summary>
/// Titans' memory as context (Titans 4.1). For each segment, with M_c the memory at its start:
/// <code>
/// h = M_c(x)   y = Attention([p, h, x])   M ← written with y   o = norm(y) ∘ sigmoid(M(y))
/// </code>
/// Two things are stricter than the paper's figure, for a token must not see those after it and streams may end anywhere:
/// what the memory answers to a token stands right before the token, h_1 x_1 h_2 x_2 …, and M is read token by token, each
/// after its own write.
/// </summary>
internal sealed class MemoryAsContext : ITokenMixer
{
    private const string Memory = "memory", Momentum = "momentum", SegmentMemory = "segment_memory", Keys = "keys", Values = "values";
    private readonly int _segment;
    private readonly MixerInput _input;
    private readonly SoftmaxAttention _attention;
    private readonly AssociativeMemory _memory;
    private readonly Parameter _readNorm;
    private readonly MixerOutput _output;

    public MemoryAsContext(ParameterFactory make, string name, ModelConfiguration configuration, double outputDeviation)
    {
        _segment = configuration.AttentionSegment;
        _input = new MixerInput(make, name, configuration);
        _attention = new SoftmaxAttention(make, $"{name}.attention", configuration, configuration.PersistentTokens);
        _memory = new AssociativeMemory(make, $"{name}.memory", configuration, MemoryRule.Titans);
        _readNorm = make.Constant($"{name}.read_norm", [configuration.Dim / configuration.Heads], 1);
        _output = new MixerOutput(make, name, configuration, outputDeviation);
    }

    /// <inheritdoc/>
    public IEnumerable<Parameter> Parameters =>
        [.. _input.Parameters, .. _attention.Parameters, .. _memory.Parameters, _readNorm, _output.Parameter];

    /// <inheritdoc/>
    public IReadOnlyList<StatePart> State
    {
        get
        {
            Shape? Cached(int batch, long tokens) => tokens % _segment == 0 ? null : _attention.Shape(batch, 2 * (int)(tokens % _segment));
            // The first segment's memory is the learned start.
            Shape? Frozen(int batch, long tokens) => tokens > _segment && tokens % _segment != 0 ? _memory.Shape(batch) : null;
            return [.. _input.State, .. MemoryMixer.MemoryState(_memory), new(SegmentMemory, Frozen), new(Keys, Cached),
                new(Values, Cached)];
        }
    }

    /// <inheritdoc/>
    public IEnumerable<StateDescription> Describe() =>
    [
        .. _input.Describe(),
        new("key–value cache", [Keys, Values], $"keys and values of a segment of {_segment} tokens and of what the memory answers to them",
            "tokens and the frozen memory", SoftmaxAttention.Rule),
        MemoryMixer.DescribeMemory(_memory) with { ContextFlow = "keys and values of what attention read" },
        new("frozen memory", [SegmentMemory], "the memory at the segment's start", "the memory", "M_c ← S", _segment),
    ];

    /// <inheritdoc/>
    public (Variable Y, MixerState Next) Forward(Tape tape, Variable x, MixerState state)
    {
        int batch = x.Shape[0], time = x.Shape[1];
        (Variable mixed, (string, Tensor)[] next) = _input.Forward(tape, x, state);
        Variable memory = _memory.Begin(tape, batch, state[Memory])!, segmentMemory = _memory.Begin(tape, batch, state[SegmentMemory])!;
        Variable? momentum = state[Momentum] is { } p ? tape.Input(p) : null;
        KeyValues? cache = state[Keys] is { } keys ? new KeyValues(tape.Input(keys), tape.Input(state[Values]!)) : null;
        var outputs = new List<Variable>();
        foreach ((int first, int count) in Segments.Pieces(state.Tokens, time, _segment))
        {
            long position = state.Tokens + first;
            if (position % _segment == 0)
                (segmentMemory, cache) = (memory, null);
            Variable piece = tape.Tokens(mixed, first, count);
            Variable retrieved = tape.Reshape(_memory.Retrieve(tape, piece, segmentMemory), piece.Shape);
            (Variable reads, cache) = _attention.Forward(tape, Interleave(tape, retrieved, piece), cache, position, tokensPerPosition: 2);
            Variable y = tape.Norm(NormKind.Rms, OfTokens(tape, reads, count), tape.Use(_readNorm));
            (Variable remembered, memory, momentum) = _memory.Write(tape, tape.Reshape(y, piece.Shape), memory, momentum);
            outputs.Add(tape.Multiply(y, tape.Activate(Activation.Sigmoid, remembered)));
        }

        return (_output.Forward(tape, tape.Concatenate([.. outputs]), x), state.After(time,
        [
            .. next, (Memory, memory.Value), (Momentum, momentum!.Value), (SegmentMemory, segmentMemory.Value),
            (Keys, cache!.Keys.Value), (Values, cache.Values.Value),
        ]));
    }

    // a and b [B, T, D] as a_1 b_1 a_2 b_2 …: [B, 2T, D].
    private static Variable Interleave(Tape tape, Variable a, Variable b)
    {
        (int batch, int time, int dim) = (a.Shape[0], a.Shape[1], a.Shape[2]);
        Shape single = [batch * time, 1, dim];
        return tape.Reshape(tape.Concatenate(tape.Reshape(a, single), tape.Reshape(b, single)), [batch, 2 * time, dim]);
    }

    // Every second of reads [B, 2T, H, D/H].
    private static Variable OfTokens(Tape tape, Variable reads, int time)
    {
        (int batch, int heads, int width) = (reads.Shape[0], reads.Shape[2], reads.Shape[3]);
        return tape.Reshape(tape.Tokens(tape.Reshape(reads, [batch * time, 2, heads, width]), 1, 1), [batch, time, heads, width]);
    }
}
