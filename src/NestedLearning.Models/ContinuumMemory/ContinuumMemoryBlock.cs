namespace NestedLearning.Models;

/// <summary>
/// One continuum memory system: a residual MLP a level, MLP_ℓ(x) = x + f_ℓ(x) with <see cref="ContinuumMlp"/>'s f, connected
/// as <see cref="ContinuumSettings"/> say. It computes and owns nothing: its parameters belong to levels.
/// </summary>
internal sealed class ContinuumMemoryBlock
{
    private readonly ContinuumSettings _settings;
    private readonly int[] _order;
    private readonly ContinuumMlp[] _blocks;
    private readonly (Parameter Parameter, Parameter Start)[][] _starts;
    private readonly (Parameter Down, Parameter Up)?[] _generators;
    private readonly Parameter? _weights;

    public ContinuumMemoryBlock(ParameterFactory make, string name, int dim, IReadOnlyList<int> hidden, ContinuumSettings settings,
        double outputDeviation)
    {
        int count = hidden.Count;
        _settings = settings;
        _order = [.. settings.SlowestFirst ? Enumerable.Range(0, count).Reverse() : Enumerable.Range(0, count)];
        _blocks = [.. hidden.Select((n, level) => new ContinuumMlp(make, $"{name}.{level}", dim, n, settings.Form, outputDeviation))];
        _starts = [.. _blocks.Select((block, level) => settings.StartOwner(level, count) is null
            ? ((Parameter, Parameter)[])[]
            : [.. block.Parameters.Select(p => (p, new Parameter($"{p.Name}.start", p.Value.Clone(), decays: false)))])];
        _generators = [.. _blocks.Select((_, level) => settings.GeneratorRank == 0 || level == _order[^1]
            ? ((Parameter, Parameter)?)null
            : (make.Normal($"{name}.{level}.generator_down", [dim, settings.GeneratorRank], 1 / Math.Sqrt(dim)),
                make.Constant($"{name}.{level}.generator_up", [settings.GeneratorRank, dim], 0)))];
        _weights = settings.Variant == ContinuumVariant.Independent ? make.Constant($"{name}.weights", [1, count], 0) : null;
    }

    /// <summary>
    /// What a level learns: its MLP, its generator, the starts of faster levels that are its own, and for the slowest the weights of the
    /// sum.
    /// </summary>
    public IEnumerable<Parameter> Parameters(int level)
    {
        IEnumerable<Parameter> parameters = _blocks[level].Parameters;
        if (_generators[level] is { } generator)
            parameters = [.. parameters, generator.Down, generator.Up];
        for (int other = 0; other < level; other++)
        {
            if (_settings.StartOwner(other, _blocks.Length) == level)
                parameters = parameters.Concat(_starts[other].Select(s => s.Start));
        }

        return level == _blocks.Length - 1 && _weights is not null ? parameters.Append(_weights) : parameters;
    }

    /// <summary>
    /// Where a level's MLPs begin in all of these systems, on levels with these chunks; null when they keep what they learn.
    /// </summary>
    public static LevelStart? StartOf(IEnumerable<ContinuumMemoryBlock> systems, ContinuumSettings settings, int level,
        IReadOnlyList<int> chunks)
    {
        if (settings.StartOwner(level, chunks.Count) is not { } owner)
            return null;
        int period = (int)(((long)chunks[owner] + chunks[level] - 1) / chunks[level]);
        return new LevelStart(systems.SelectMany(s => s._starts[level]), period, settings.ResetsOptimizers);
    }

    /// <summary>y [B, T, D] for x [B, T, D].</summary>
    public Variable Forward(Tape tape, Variable x)
    {
        var outputs = new Variable[_blocks.Length];
        Variable? previous = null;
        foreach (int level in _order)
        {
            Variable input = Input(x, previous);
            outputs[level] = _blocks[level]
                .Forward(tape, Reach(input), Generated(tape, level, previous is null ? null : Reach(previous)), residual: input);
            previous = outputs[level];
        }

        return _weights is null ? previous! : Sum(tape, outputs);

        Variable Reach(Variable value) => _settings.Backpropagates ? value : tape.Input(value.Value);
    }

    /// <summary>
    /// y [B, T, D] for x [B, T, D], where every level regresses the target [B, T, D] from its own input: the gradient of
    /// ½‖MLP_ℓ(x_ℓ) − target‖², summed over tokens, is added to the error terms of that level's parameters alone (and that of
    /// ½‖y − target‖² to the weights of the sum). The caller disposes y.
    /// </summary>
    /// <exception cref="NotFiniteNumberException">An output or target is not finite. Nothing changed.</exception>
    public Tensor Regress(Tensor x, Tensor target)
    {
        var tapes = new List<Tape>();
        var regressions = new List<(Variable Output, Tensor Error)>();
        try
        {
            var outputs = new Tensor[_blocks.Length];
            Tensor? previous = null;
            foreach (int level in _order)
            {
                Tape tape = NewTape();
                Variable? written = previous is null ? null : tape.Input(previous);
                Variable input = Input(tape.Input(x), written);
                Variable output = _blocks[level].Forward(tape, input, Generated(tape, level, written), residual: input);
                AddRegression(tape, output);
                outputs[level] = previous = output.Value;
            }

            if (_weights is not null)
            {
                Tape tape = NewTape();
                Variable sum = Sum(tape, Array.ConvertAll(outputs, o => tape.Input(o)));
                AddRegression(tape, sum);
                previous = sum.Value;
            }

            double norm = GlobalNorm.Of([.. regressions.Select(r => r.Error)]);
            if (!double.IsFinite(norm))
                throw new NotFiniteNumberException($"The errors of the regression have norm {norm}; nothing was learned from them.", norm);
            for (int i = 0; i < tapes.Count; i++)
                tapes[i].Backward(regressions[i].Output, regressions[i].Error);
            return previous!.Clone();
        }
        finally
        {
            foreach (Tape tape in tapes)
                tape.Dispose();
        }

        Tape NewTape()
        {
            tapes.Add(new Tape(x.Device));
            return tapes[^1];
        }

        // The gradient of ½‖output − target‖².
        void AddRegression(Tape tape, Variable output)
        {
            Tensor error = tape.Keep(output.Value.Clone());
            Elementwise.AddScaled(-1, target, error);
            regressions.Add((output, error));
        }
    }

    /// <summary>
    /// Sets all MLPs, and their starts, so that together they are the pretrained one; see <see cref="ContinuumMemory.FromPretrained"/>.
    /// </summary>
    public void WarmStart(PretrainedMlp mlp)
    {
        int first = 0;
        foreach (ContinuumMlp block in _blocks)
        {
            int units = block.InBias.Value.Count;
            if (_weights is not null)
            {
                block.WarmStart(mlp, first, outputScale: _blocks.Length);
                first += units;
            }
            else if (block == _blocks[^1])
                block.WarmStart(mlp, 0, outputScale: 1);
            else
                block.WarmStartAsIdentity(mlp);
        }

        foreach ((Parameter parameter, Parameter start) in _starts.SelectMany(s => s))
            start.Value.CopyFrom(parameter.Value);
    }

    private Variable Input(Variable x, Variable? previous) => _weights is null ? previous ?? x : x;

    // What the block before a level's writes for it; the last in the order writes nothing.
    private Variable? Generated(Tape tape, int level, Variable? previous)
    {
        int writer = _settings.SlowestFirst ? level + 1 : level - 1;
        if (previous is null || _generators[writer] is not { } generator)
            return null;
        return tape.Linear(tape.Linear(previous, tape.Use(generator.Down)), tape.Use(generator.Up));
    }

    // Σ_ℓ p_ℓ MLP_ℓ, each term a product of one number and one row.
    private Variable Sum(Tape tape, Variable[] outputs)
    {
        Variable weights = tape.Softmax(tape.Use(_weights!));
        Shape shape = outputs[0].Shape;
        Variable? sum = null;
        for (int level = 0; level < outputs.Length; level++)
        {
            float[] chosen = new float[outputs.Length];
            chosen[level] = 1;
            Variable weight = tape.Linear(weights, tape.Input(tape.Keep(tape.Device.From([outputs.Length, 1], chosen))));
            sum = tape.Linear(weight, tape.Reshape(outputs[level], [1, shape.ElementCount]), residual: sum);
        }

        return tape.Reshape(sum!, shape);
    }
}
