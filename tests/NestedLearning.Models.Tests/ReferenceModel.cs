using NestedLearning.Testing;

namespace NestedLearning.Models.Tests;

/// <summary>
/// A model in double, token by token, written from the equations and nothing else of the library: every token is computed from the
/// tokens before it, with no cache, segment or chunk but where the equations have one. Memories that modify themselves are
/// <see cref="ReferenceSelfModifyingMemories"/>.
/// </summary>
internal sealed class ReferenceModel
{
    private readonly ModelConfiguration _c;
    private readonly Dictionary<string, double[]> _p = [];

    public ReferenceModel(SequenceModel model)
    {
        _c = model.Configuration;
        foreach (Parameter p in model.Levels.Levels.SelectMany(l => l.Parameters))
            _p.Add(p.Name, Compare.ToDouble(p.Value.ToArray()));
    }

    private int Width => _c.Dim / _c.Heads;

    /// <summary>Logits [T, V].</summary>
    public double[] Logits(int[] tokens)
    {
        double[][] x = [.. tokens.Select(t => Row(_p["embedding"], t, _c.Dim))];
        for (int b = 0; b < _c.Blocks; b++)
        {
            x = Mix($"block{b}", x);
            for (int level = 0; level < _c.Levels.Count; level++)
                x = [.. x.Select(row => Add(row, Mlp($"block{b}.memory.{level}", row)))];
        }

        return [.. x.SelectMany(row => TransposedProduct(Rms(row, _p["final_norm"]), _p["embedding"], _c.Vocabulary))];
    }

    private double[][] Mix(string block, double[][] x)
    {
        string name = block + _c.Mixer switch
        {
            TokenMixer.Attention => ".attention",
            TokenMixer.DeltaNet =>
            ".delta",
            TokenMixer.LinearAttention => ".linear",
            _ => ".titans"
        };
        double[][] mixed = Convolve(name, [.. x.Select(row => Rms(row, _p[$"{name}.norm"]))]);
        double[][] reads = _c.Mixer switch
        {
            TokenMixer.Attention => Attend(name, mixed, segment: 0),
            TokenMixer.TitansAsGate =>
                Gate(Attend($"{name}.attention", mixed, _c.AttentionSegment), Remember($"{name}.memory", mixed).Reads, name),
            TokenMixer.TitansAsLayer => Attend($"{name}.attention", Remember($"{name}.memory", mixed).Reads, _c.AttentionSegment),
            TokenMixer.TitansAsContext => AsContext(name, mixed),
            TokenMixer.SelfModifyingTitans => SelfModify(name, mixed),
            _ => Remember(name, mixed).Reads,
        };
        return [.. x.Select((row, t) => Add(row, Product(reads[t], _p[$"{name}.output"], _c.Dim)))];
    }

    // Inputs, queries, keys and values of length one for each head; five matrices, or memories in their general form.
    private double[][] SelfModify(string name, double[][] x)
    {
        SelfModifyingOptions options = _c.SelfModifying;
        var settings = new SelfModifyingSettings(_c.MemoryChunk, _c.Objective, options.Read, _c.EtaScale, _c.EtaBias, _c.AlphaBias,
            NormalizeValues: true)
        {
            ExactGradient = options.ExactGradient,
        };
        (string Name, MemoryOptions Options)[] forms =
        [
            ("k", options.Key), ("v", options.Value), ("eta", options.Rate), ("alpha", options.Decay), ("mem", options.Memory),
            .. options.Query is null ? Array.Empty<(string, MemoryOptions)>() : [("q", options.Query)],
        ];
        ReferenceMemory[] memories = [.. forms.Select((f, i) => new ReferenceMemory(
            f.Options.Chunk ?? _c.MemoryChunk, f.Options.Kind == MemoryKind.Deep ? f.Options.Hidden : 0,
            Residual: f.Name is not ("eta" or "alpha"), Starts(name, f.Name, i)))];
        double[] reads = ReferenceSelfModifyingMemories.Forward(new ReferenceMemoriesCase(
            1, x.Length, _c.Heads, Width, settings, Heads("input"), options.Query is null ? Heads("query") : null, memories));
        return [.. x.Select((_, t) => HeadRms(Row(reads, t, _c.Dim), _p[$"{name}.read_norm"]))];

        double[] Heads(string projection) => [.. x.SelectMany(row =>
        {
            double[] all = Product(row, _p[$"{name}.{projection}"], _c.Dim);
            return Enumerable.Range(0, _c.Heads).SelectMany(h => Unit(all.AsSpan(h * Width, Width)));
        })];
    }

    // The learned starts of a memory: of five matrices side by side its columns, else its own.
    private double[][] Starts(string name, string memory, int index)
    {
        if (!_p.TryGetValue($"{name}.start", out double[]? together))
            return _p.TryGetValue($"{name}.start.{memory}", out double[]? matrix)
                ? [matrix] : [_p[$"{name}.start.{memory}.w1"], _p[$"{name}.start.{memory}.w2"]];
        int[] order = [0, 1, 3, 4, 2], widths = [Width, Width, Width, 1, 1];
        int columns = 3 * Width + 2, first = widths[..order[index]].Sum();
        return [[.. Enumerable.Range(0, _c.Heads * Width)
            .SelectMany(row => together[(row * columns + first)..(row * columns + first + widths[order[index]])])]];
    }

    private double[] Mlp(string name, double[] x)
    {
        double[] hidden = Add(Product(Rms(x, _p[$"{name}.norm"]), _p[$"{name}.in"], _p[$"{name}.in_bias"].Length), _p[$"{name}.in_bias"]);
        return Product([.. hidden.Select(z => ReferenceDense.Activate(Activation.Gelu, z))], _p[$"{name}.out"], _c.Dim);
    }

    private double[][] Convolve(string name, double[][] x)
    {
        if (!_c.Convolution)
            return x;
        double[] w = _p[$"{name}.convolution"];
        return [.. x.Select((_, t) =>
            Enumerable.Range(0, _c.Dim).Select(d => Enumerable.Range(0, 4).Sum(j => t - 3 + j < 0 ? 0 : w[d * 4 + j] * x[t - 3 + j][d]))
            .ToArray())];
    }

    // Softmax over persistent tokens, then all tokens of the context, or those since the beginning of the segment before the token's.
    private double[][] Attend(string name, double[][] x, int segment)
    {
        (double[][] keys, double[][] values) = Persistent(name);
        double[][] k = [.. x.Select((row, t) => Turn(Product(row, _p[$"{name}.key"], _c.Dim), t))],
            v = [.. x.Select(row => Product(row, _p[$"{name}.value"], _c.Dim))];
        return [.. x.Select((row, t) =>
        {
            int first = segment == 0 ? 0 : Math.Max(0, (t / segment - 1) * segment);
            return Softmax(Turn(Product(row, _p[$"{name}.query"], _c.Dim), t), [.. keys, .. k[first..(t + 1)]],
                [.. values, .. v[first..(t + 1)]]);
        })];
    }

    private double[][] AsContext(string name, double[][] x)
    {
        string attention = $"{name}.attention", memory = $"{name}.memory";
        double[][] reads = new double[x.Length][];
        double[][]? s = null, p = null;
        for (int first = 0; first < x.Length; first += _c.AttentionSegment)
        {
            double[][]? frozen = s;
            (double[][] keys, double[][] values) = Persistent(attention);
            double[][] y = new double[Math.Min(_c.AttentionSegment, x.Length - first)][];
            for (int t = 0; t < y.Length; t++)
            {
                double[] h = Answer(memory, x[first + t], frozen ?? Start(memory));
                foreach (double[] token in (double[][])[h, x[first + t]])
                {
                    keys = [.. keys, Turn(Product(token, _p[$"{attention}.key"], _c.Dim), first + t)];
                    values = [.. values, Product(token, _p[$"{attention}.value"], _c.Dim)];
                }

                y[t] = HeadRms(Softmax(Turn(Product(x[first + t], _p[$"{attention}.query"], _c.Dim), first + t), keys, values),
                    _p[$"{name}.read_norm"]);
            }

            (double[][] remembered, s, p) = Remember(memory, y, s, p);
            for (int t = 0; t < y.Length; t++)
                reads[first + t] = [.. y[t].Select((e, i) => e * ReferenceDense.Activate(Activation.Sigmoid, remembered[t][i]))];
        }

        return reads;
    }

    private double[][] Gate(double[][] attended, double[][] remembered, string name) =>
        [.. attended.Select((row, t) =>
        HeadRms(row, _p[$"{name}.read_norm"]).Select((e, i) => e * ReferenceDense.Activate(Activation.Sigmoid, remembered[t][i]))
        .ToArray())];

    private (double[][] Keys, double[][] Values) Persistent(string name)
    {
        if (!_p.TryGetValue($"{name}.persistent", out double[]? persistent))
            return ([], []);
        double[][] tokens = [.. Enumerable.Range(0, _c.PersistentTokens).Select(i => Row(persistent, i, _c.Dim))];
        return ([.. tokens.Select(t => Product(t, _p[$"{name}.key"], _c.Dim))],
            [.. tokens.Select(t => Product(t, _p[$"{name}.value"], _c.Dim))]);
    }

    // S ← α S + P with P ← μ P + kᵀ(u − ε k S), head by head; each read after its token's write.
    private (double[][] Reads, double[][] S, double[][] P) Remember(string name, double[][] x, double[][]? s = null, double[][]? p = null)
    {
        bool titans = _p.ContainsKey($"{name}.momentum.weight");
        s ??= titans ? Start(name) : Zero();
        p ??= Zero();
        s = Array.ConvertAll(s, m => (double[])m.Clone());
        p = Array.ConvertAll(p, m => (double[])m.Clone());
        double[][] reads = new double[x.Length][];
        for (int t = 0; t < x.Length; t++)
        {
            double[] k = Product(x[t], _p[$"{name}.key"], _c.Dim), v = Product(x[t], _p[$"{name}.value"], _c.Dim);
            for (int h = 0; h < _c.Heads; h++)
            {
                double alpha = Rate($"{name}.decay", x[t], h) ?? 1, mu = Rate($"{name}.momentum", x[t], h) ?? 0,
                    write = Rate($"{name}.write", x[t], h) ?? 1;
                double erase = _c.Mixer == TokenMixer.LinearAttention ? 0 : titans ? write : write * alpha;
                double[] key = Unit(k.AsSpan(h * Width, Width)), answer = Product(key, s[h], Width);
                for (int i = 0; i < Width; i++)
                {
                    for (int j = 0; j < Width; j++)
                    {
                        ref double momentum = ref p[h][i * Width + j], memory = ref s[h][i * Width + j];
                        momentum = mu * momentum + key[i] * (write * v[h * Width + j] - erase * answer[j]);
                        memory = alpha * memory + momentum;
                    }
                }
            }

            reads[t] = Answer(name, x[t], s);
        }

        return (reads, s, p);
    }

    private double[] Answer(string name, double[] x, double[][] s)
    {
        double[] q = Product(x, _p[$"{name}.query"], _c.Dim);
        return HeadRms([.. s.SelectMany((memory, h) => Product(Unit(q.AsSpan(h * Width, Width)), memory, Width))], _p[$"{name}.read_norm"]);
    }

    private double[][] Start(string name) => [.. Enumerable.Range(0, _c.Heads).Select(h => Row(_p[$"{name}.start"], h, Width * Width))];

    private double[][] Zero() => [.. Enumerable.Range(0, _c.Heads).Select(_ => new double[Width * Width])];

    private double? Rate(string name, double[] x, int head) => _p.TryGetValue($"{name}.weight", out double[]? weight)
        ? ReferenceDense.Activate(Activation.Sigmoid, Product(x, weight, _c.Heads)[head] + _p[$"{name}.bias"][head])
        : null;

    private double[] Softmax(double[] q, double[][] keys, double[][] values)
    {
        double[] read = new double[_c.Dim];
        for (int h = 0; h < _c.Heads; h++)
        {
            double[] weights = [.. keys.Select(k =>
                Math.Exp(FiniteDifferences.Dot(q.AsSpan(h * Width, Width), k.AsSpan(h * Width, Width)) / Math.Sqrt(Width)))];
            double sum = weights.Sum();
            for (int j = 0; j < weights.Length; j++)
            {
                for (int i = h * Width; i < (h + 1) * Width; i++)
                    read[i] += weights[j] / sum * values[j][i];
            }
        }

        return read;
    }

    // Each head's pairs (i, i + half) as complex numbers, times e^(i n base^(−2i/width)).
    private double[] Turn(double[] x, int position)
    {
        double[] turned = (double[])x.Clone();
        if (_c.RotaryBase == 0)
            return turned;
        int half = Width / 2;
        for (int h = 0; h < _c.Heads; h++)
        {
            for (int i = 0; i < half; i++)
            {
                double angle = position * Math.Pow(_c.RotaryBase, -2.0 * i / Width);
                (int a, int b) = (h * Width + i, h * Width + half + i);
                turned[a] = x[a] * Math.Cos(angle) - x[b] * Math.Sin(angle);
                turned[b] = x[b] * Math.Cos(angle) + x[a] * Math.Sin(angle);
            }
        }

        return turned;
    }

    private double[] HeadRms(double[] x, double[] gain) =>
        [.. Enumerable.Range(0, _c.Heads).SelectMany(h => Rms(x[(h * Width)..((h + 1) * Width)], gain))];

    private static double[] Rms(double[] x, double[] gain)
    {
        double scale = 1 / Math.Sqrt(x.Sum(e => e * e) / x.Length + 1e-6);
        return [.. x.Select((e, i) => gain[i] * e * scale)];
    }

    private static double[] Unit(ReadOnlySpan<double> x)
    {
        double norm = Math.Sqrt(FiniteDifferences.Dot(x, x) + 1e-12);
        double[] unit = x.ToArray();
        foreach (ref double e in unit.AsSpan())
            e /= norm;
        return unit;
    }

    private static double[] Row(double[] table, int row, int width) => table[(row * width)..((row + 1) * width)];

    private static double[] Add(double[] x, double[] y) => [.. x.Select((e, i) => e + y[i])];

    private static double[] Product(double[] x, double[] w, int columns) =>
        [.. Enumerable.Range(0, columns).Select(n => x.Select((e, k) => e * w[k * columns + n]).Sum())];

    private static double[] TransposedProduct(double[] x, double[] w, int rows) =>
        [.. Enumerable.Range(0, rows).Select(n => x.Select((e, k) => e * w[n * x.Length + k]).Sum())];
}
