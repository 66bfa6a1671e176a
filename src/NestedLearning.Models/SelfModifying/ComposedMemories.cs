namespace NestedLearning.Models;

/// <summary>
/// Self-modifying memories in their general form (docs/specification.md, section 6, NL 83–93), composed of recorded operations, so that the
/// gradient flows through every write:
/// <code>
/// k = norm(M_k,c(x))   v = M_v,c(x)   η = softplus(M_η,c(x) + b_η) s_η   α = sigmoid(M_α,c(x) + b_α)   q = norm(M_q,c(x))
/// v̂_□ = M_□,c(v)       S_□,t = α S_□,t−1 − η kᵀ(k S_□,t−1) − η ∇L(M_□; k, v̂_□)       o_t = M_mem,t−1(q)
/// </code>
/// Each memory is a matrix or two layers and has chunks of its own, at whose starts it is frozen as M_□,c. Tokens between
/// two starts of any memory's chunk are computed together.
/// </summary>
internal sealed class ComposedMemories : ISelfModifyingMemories
{
    private readonly SelfModifyingSettings _settings;

    // k, v, η, α, mem and, where queries are adaptive, q.
    private readonly SelfWrittenMemory[] _memories;

    public ComposedMemories(ParameterFactory make, string name, int heads, int width, SelfModifyingSettings settings,
        SelfModifyingOptions options)
    {
        _settings = settings;
        _memories =
        [
            New("k", options.Key, random: true),
            New("v", options.Value, random: true),
            New("eta", options.Rate, gate: true),
            New("alpha", options.Decay, gate: true),
            New("mem", options.Memory),
            .. options.Query is null ? Array.Empty<SelfWrittenMemory>() : [New("q", options.Query, random: true)],
        ];

        // Projections start at random; mem as the identity, since a memory that answers every value with zero has zero
        // targets and would never write; the rates at their biases.
        SelfWrittenMemory New(string memory, MemoryOptions form, bool random = false, bool gate = false)
        {
            int chunk = form.Chunk ?? settings.Chunk;
            string start = $"{name}.start.{memory}";
            if (form.Kind == MemoryKind.Deep)
            {
                Parameter w1 = random ? Normal($"{start}.w1", form.Hidden, width)
                    : make.Constant($"{start}.w1", [heads, form.Hidden, width], 0);
                return new TwoLayerMemory(memory, chunk, w1, Normal($"{start}.w2", width, form.Hidden), residual: !gate);
            }

            return new MatrixMemory(
                memory, chunk, random ? Normal(start, width, width) : gate ? make.Constant(start, [heads, width, 1], 0)
                : make.From(start, [heads, width, width], Identity()));
        }

        Parameter Normal(string start, int inputs, int outputs) =>
            make.Normal(start, [heads, inputs, outputs], 1 / Math.Sqrt(inputs), decays: false);

        float[] Identity()
        {
            float[] identity = new float[heads * width * width];
            for (int row = 0; row < heads * width; row++)
                identity[row * width + row % width] = 1;
            return identity;
        }
    }

    /// <inheritdoc/>
    public IEnumerable<Parameter> Parameters => _memories.SelectMany(m => m.Starts);

    /// <inheritdoc/>
    public IEnumerable<StatePart> State => _memories.SelectMany(m => m.State);

    /// <inheritdoc/>
    public IEnumerable<StateDescription> Describe() => _memories.SelectMany(m => m.Describe(_settings));

    /// <inheritdoc/>
    public (Variable Reads, IEnumerable<(string Name, Tensor Value)> Next) Forward(Tape tape, Variable x, Variable? queries,
        MixerState state)
    {
        MemoryWeights[] weights = [.. _memories.Select(m => m.Begin(tape, state))];
        var reads = new List<Variable>();
        int time = x.Shape[1];
        for (int first = 0, count; first < time; first += count)
        {
            long position = state.Tokens + first;
            count = Math.Min(time - first, _memories.Min(m => m.Chunk - m.Phase(position)));
            Variable part = tape.Tokens(x, first, count);
            var writes = new SelfModifyingWrites(
                Unit(tape, Answer(0, part)),
                _settings.NormalizeValues ? Unit(tape, Answer(1, part)) : Answer(1, part),
                tape.Scale(tape.Activate(Activation.Softplus, tape.Shift(Gate(2, part), _settings.EtaBias)), _settings.EtaScale),
                tape.Activate(Activation.LogSigmoid, tape.Shift(Gate(3, part), _settings.AlphaBias)));
            Variable query = queries is null ? Unit(tape, Answer(5, part)) : tape.Tokens(queries, first, count);

            var next = new MemoryWeights[_memories.Length];
            for (int i = 0; i < next.Length; i++)
            {
                SelfWrittenMemory memory = _memories[i];
                bool isRead = i == 4;
                (Variable answers, Variable[] current) = memory.Write(
                    tape, weights[i], memory.Phase(position), writes, isRead ? query : writes.Keys,
                    isRead ? _settings : _settings with { Read = ScanRead.Before });
                if (isRead)
                    reads.Add(answers);
                next[i] = new MemoryWeights(current, memory.Phase(position + count) == 0 ? current : weights[i].Frozen);
            }

            weights = next;
        }

        return (tape.Concatenate([.. reads]), _memories.Zip(weights).SelectMany(m => m.First.End(m.Second)));

        Variable Answer(int memory, Variable input) => _memories[memory].Answer(tape, weights[memory], input);

        // One number for each token and head: the answer of a matrix, the mean of two layers' answers.
        Variable Gate(int memory, Variable input)
        {
            Variable answer = Answer(memory, input);
            int width = answer.Shape[^1];
            Variable number = width == 1 ? answer : tape.Linear(answer, tape.Input(tape.Keep(tape.Device.Full([width, 1], 1f / width))));
            return tape.Reshape(number, [.. answer.Shape.AsSpan()[..3]]);
        }
    }

    private static Variable Unit(Tape tape, Variable x) => tape.Norm(NormKind.L2, x, epsilon: SelfModifyingSettings.NormEpsilon);
}
