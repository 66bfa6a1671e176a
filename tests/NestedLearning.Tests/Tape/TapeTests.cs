using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>
/// The wiring of the tape: that each operation's gradient reaches every input, is added where a value is used more
/// than once, and agrees with finite differences of the recorded function. The kernels have suites of their own.
/// </summary>
public sealed class TapeTests : IDisposable
{
    // float32 forward passes, so differences of 1e-2 carry about five digits of the loss.
    private const double Tolerance = 2e-3;
    private readonly Device _device = Device.Open("managed");
    private ulong _stream;

    [Fact]
    public void Linear_MatchesFiniteDifferences()
    {
        Parameter x = New([2, 3, 5]), w = New([5, 4]), b = New([4]), r = New([2, 3, 4]);
        Check(t => t.Linear(t.Use(x), t.Use(w), t.Use(b), t.Use(r)), x, w, b, r);
    }

    [Fact]
    public void LinearTransposed_MatchesFiniteDifferences()
    {
        Parameter x = New([3, 5]), w = New([4, 5]);
        Check(t => t.Linear(t.Use(x), t.Use(w), transposeWeight: true), x, w);
    }

    [Fact]
    public void Mlp_MatchesFiniteDifferences()
    {
        Parameter x = New([4, 5]), w = New([5, 7]), b = New([7]), v = New([7, 5]), c = New([5]);
        Check(
            t =>
            {
                Variable input = t.Use(x);
                return t.Mlp(input, t.Use(w), t.Use(b), t.Use(v), t.Use(c), residual: input);
            },
            x, w, b, v, c);
    }

    [Fact]
    public void SequenceThatGrows_KeepsWhatItWas_AndBranches()
    {
        // Token by token, as a cache of keys: 33 tokens of 3 numbers, twice from the seventh on.
        float[] tokens = new TestData(7).Normal(33 * 3), others = new TestData(8).Normal(33 * 3);
        var grown = new List<Tensor>();
        Tensor Grow(Tensor sequence, float[] from)
        {
            using var tape = new Tape(_device, recording: false);
            int count = sequence.Shape[1];
            Tensor next = tape.Keep(_device.From([1, 1, 3], from.AsSpan(3 * count, 3)));
            Tensor all = tape.Append(tape.Input(sequence), tape.Input(next)).Value;
            // Outlives the tape, as a state does.
            grown.Add(all.Reshape(all.Shape));
            return grown[^1];
        }

        Tensor first = _device.From([1, 1, 3], tokens.AsSpan(0, 3)), sequence = first;
        while (sequence.Shape[1] < 33)
            sequence = Grow(sequence, tokens);
        Tensor branch = grown[5];
        Assert.Equal(7, branch.Shape[1]);
        while (branch.Shape[1] < 33)
            branch = Grow(branch, others);

        for (int i = 0; i < grown.Count; i++)
        {
            int count = grown[i].Shape[1];
            float[] expected = i < 32 ? tokens[..(3 * count)] : [.. tokens[..21], .. others[21..(3 * count)]];
            Compare.SameBits($"{count} tokens", grown[i].ToArray(), expected);
        }

        // Freed in any order.
        first.Dispose();
        foreach (Tensor tensor in grown.AsEnumerable().Reverse())
            tensor.Dispose();
    }

    [Fact]
    public void Rotate_MatchesFiniteDifferences()
    {
        Parameter x = New([2, 3, 2, 5]), table = New([3, 4]);
        Check(t => t.Rotate(t.Use(x), table.Value), x);
    }

    [Fact]
    public void ReshapeUsedTwiceAndBesideItsInput_MatchesFiniteDifferences()
    {
        Parameter x = New([2, 6]), w = New([6, 6]), a = New([3, 4]), b = New([12]);
        Check(
            t =>
            {
                Variable y = t.Linear(t.Use(x), t.Use(w));
                Variable product = t.Multiply(t.Reshape(t.Multiply(t.Reshape(y, [3, 4]), t.Use(a)), [12]),
                    t.Multiply(t.Reshape(y, [12]), t.Use(b)));
                return t.Add(t.Reshape(product, [2, 6]), y);
            },
            x, w, a, b);
    }

    [Theory]
    [InlineData(NormKind.Rms)]
    [InlineData(NormKind.Layer)]
    [InlineData(NormKind.L2)]
    public void Norm_MatchesFiniteDifferences(NormKind kind)
    {
        Parameter x = New([3, 6]), gain = New([6]), bias = New([6]);
        Parameter[] used = kind switch { NormKind.Rms => [x, gain], NormKind.Layer => [x, gain, bias], _ => [x] };
        Check(t => t.Norm(kind, t.Use(x), used.Contains(gain) ? t.Use(gain) : null, used.Contains(bias) ? t.Use(bias) : null, 1e-3f), used);
    }

    [Fact]
    public void CausalConvolution_MatchesFiniteDifferences()
    {
        Parameter x = New([2, 6, 3]), w = New([3, 4]), b = New([3]), state = New([2, 3, 3]);
        Check(t => t.CausalConvolution(t.Use(x), t.Use(w), t.Use(b), state.Value), x, w, b);
    }

    [Theory]
    [InlineData(Activation.Sigmoid)]
    [InlineData(Activation.Softplus)]
    [InlineData(Activation.LogSigmoid)]
    [InlineData(Activation.Gelu)]
    public void Activate_MatchesFiniteDifferences(Activation activation)
    {
        Parameter x = New([11]);
        Check(t => t.Activate(activation, t.Use(x)), x);
    }

    [Fact]
    public void AddMultiplyReshape_AddGradientsOfAValueUsedTwice()
    {
        Parameter x = New([2, 6]), y = New([2, 6]);
        Check(
            t =>
            {
                Variable a = t.Multiply(t.Use(x), t.Use(y));
                Variable b = t.Add(a, t.Multiply(a, a));
                return t.Reshape(t.Add(b, a), [3, 4]);
            },
            x, y);
    }

    [Fact]
    public void ConcatenateAndTokens_CopyAndMatchFiniteDifferences()
    {
        Parameter x = New([2, 2, 3]), y = New([2, 3, 3]);
        Variable Join(Tape t)
        {
            Variable a = t.Use(x);
            return t.Concatenate(a, t.Use(y), t.Tokens(a, 1, 1), a);
        }

        using (var tape = new Tape(_device, recording: false))
        {
            Variable joined = Join(tape);
            Assert.Equal([2, 8, 3], joined.Shape);
            float[] a = x.Value.ToArray(), b = y.Value.ToArray();
            Compare.SameBits("joined", joined.Value.ToArray(),
                [.. a[..6], .. b[..9], .. a[3..6], .. a[..6], .. a[6..], .. b[9..], .. a[9..], .. a[6..]]);
            Compare.SameBits("some", tape.Tokens(joined, 2, 3).Value.ToArray(), b);
            Assert.Same(joined, tape.Tokens(joined, 0, 8));
            Assert.Throws<ArgumentOutOfRangeException>(() => tape.Tokens(joined, 6, 3));
            Assert.Throws<ArgumentOutOfRangeException>(() => tape.Tokens(joined, -1, 1));
            Assert.Throws<ArgumentException>(() => tape.Concatenate());
            Assert.Throws<ArgumentException>(() => tape.Concatenate(tape.Use(x), tape.Use(New([2, 3, 4]))));
        }

        Check(Join, x, y);
        Check(t => t.Multiply(t.Tokens(Join(t), 1, 4), t.Tokens(Join(t), 3, 4)), x, y);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void UnstackAndStack_CopyAndMatchFiniteDifferences(int batch)
    {
        Parameter x = New([batch, 2, 2]);
        using (var tape = new Tape(_device, recording: false))
        {
            IReadOnlyList<Variable> sequences = tape.Unstack(tape.Use(x));
            Assert.Equal(batch, sequences.Count);
            for (int b = 0; b < batch; b++)
            {
                Assert.Equal([1, 2, 2], sequences[b].Shape);
                Compare.SameBits($"sequence {b}", sequences[b].Value.Span, x.Value.Span.Slice(4 * b, 4));
            }

            Variable stacked = tape.Stack(sequences);
            Assert.Equal(x.Value.Shape, stacked.Shape);
            Compare.SameBits("stacked", stacked.Value.ToArray(), x.Value.ToArray());
            Assert.Throws<ArgumentException>(() => tape.Unstack(tape.Use(New([3]))));
            Assert.Throws<ArgumentException>(() => tape.Stack([]));
            Assert.Throws<ArgumentException>(() => tape.Stack([tape.Use(New([2, 2]))]));
            Assert.Throws<ArgumentException>(() => tape.Stack([sequences[0], tape.Use(New([1, 2, 3]))]));
        }

        Check(
            t =>
            {
                IReadOnlyList<Variable> sequences = t.Unstack(t.Use(x));
                Variable first = sequences[0], last = sequences[^1];
                return t.Stack([t.Multiply(first, last), .. sequences, last]);
            },
            x);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void UseFirstOrder_HasTheCarriedValue_AndSendsTheSumOfGradientsToTheStart(int batch)
    {
        Parameter start = New([2, 2]);
        using Tensor carried = New([batch, 2, 2]).Value.Clone();
        using (var tape = new Tape(_device))
        {
            Variable value = tape.UseFirstOrder(start, carried);
            Compare.SameBits("value", value.Value.ToArray(), carried.ToArray());
            Variable y = tape.Multiply(value, value);
            using Tensor seed = _device.Full(y.Shape, 1);
            tape.Backward(y, seed);
        }

        float[] expected = [.. Enumerable.Range(0, 4).Select(i => Enumerable.Range(0, batch).Sum(b => 2 * carried.Span[4 * b + i]))];
        Compare.Close("gradient", start.Error.ToArray(), expected, 1e-6);
        using Tensor other = _device.Zeros([3]);
        using var another = new Tape(_device);
        Assert.Throws<ArgumentException>(() => another.UseFirstOrder(start, other));
    }

    [Fact]
    public void EmbeddingAndCrossEntropy_MatchFiniteDifferences()
    {
        Parameter table = New([5, 4]);
        using IndexTensor tokens = _device.FromIndices([2, 3], [0, 4, 4, 1, 0, 2]);
        using IndexTensor targets = _device.FromIndices([2, 3], [4, 4, 1, -1, 2, 3]);
        Check(
            t =>
            {
                Variable e = t.Use(table);
                return t.CrossEntropy(t.Linear(t.Embedding(tokens, e), e, transposeWeight: true), targets);
            },
            table);
    }

    [Fact]
    public void LinearCrossEntropy_MatchesFiniteDifferences()
    {
        Parameter x = New([2, 3, 4]), w = New([5, 4]);
        using IndexTensor targets = _device.FromIndices([2, 3], [4, 4, 1, -1, 2, 3]);
        Check(t => t.LinearCrossEntropy(t.Use(x), t.Use(w), targets), x, w);
    }

    [Fact]
    public void Attention_MatchesFiniteDifferences()
    {
        Parameter q = New([2, 4, 2, 3]), k = New([2, 6, 2, 3]), v = New([2, 6, 2, 5]);
        Check(t => t.Attention(t.Use(q), t.Use(k), t.Use(v), new AttentionSettings(0.6f)), q, k, v);
    }

    [Theory]
    [InlineData(ScanWrite.Given, ScanRead.After)]
    [InlineData(ScanWrite.Scaled, ScanRead.Before)]
    [InlineData(ScanWrite.FrozenL2, ScanRead.After)]
    public void Scan_MatchesFiniteDifferences(ScanWrite write, ScanRead read)
    {
        Shape rates = [1, 7, 2];
        Parameter q = New([1, 7, 2, 3]), k = New([1, 7, 2, 3], 0.5f), u = New([1, 7, 2, 4]), logAlpha = New(rates, 0.1f, -0.5f),
            erase = New(rates, 0.1f, 0.3f),
            mu = New(rates, 0.1f, 0.4f), theta = New(rates, 0.1f, 0.3f), s0 = New([1, 2, 3, 4]), p0 = New([1, 2, 3, 4]);
        bool hasTheta = write != ScanWrite.Given;
        foreach (Func<ScanResults, Variable> result in (Func<ScanResults, Variable>[])[r => r.O, r => r.S, r => r.P!])
        {
            Check(
                t => result(t.Scan(
                    new ScanVariables(t.Use(q), t.Use(k), t.Use(u), t.Use(logAlpha), t.Use(erase), t.Use(mu),
                        hasTheta ? t.Use(theta) : null, t.Use(s0), t.Use(p0)),
                    new ScanSettings(0.7f, read, write, 3))),
                hasTheta ? [q, k, u, logAlpha, erase, mu, theta, s0, p0] : [q, k, u, logAlpha, erase, mu, s0, p0]);
        }
    }

    [Theory]
    [InlineData(MemoryObjective.L2)]
    [InlineData(MemoryObjective.DotProduct)]
    public void SelfModifying_MatchesFiniteDifferences(MemoryObjective objective)
    {
        Parameter x = New([2, 7, 1, 3]), q = New([2, 7, 1, 3]), s0 = New([2, 1, 3, 11], 0.5f);
        var settings = new SelfModifyingSettings(3, objective, ScanRead.Before, 0.2f, 0, 3);
        Check(t => t.SelfModifying(t.Use(x), t.Use(q), t.Use(s0), settings).O, x, q, s0);
        Check(t => t.SelfModifying(t.Use(x), t.Use(q), t.Use(s0), settings).S, x, s0);
    }

    [Theory]
    [InlineData(MemoryObjective.L2)]
    [InlineData(MemoryObjective.DotProduct)]
    public void DeepMemory_MatchesFiniteDifferences(MemoryObjective objective)
    {
        Shape tokens = [1, 5, 2, 3], rates = [1, 5, 2], first = [1, 2, 4, 3], second = [1, 2, 3, 4];
        Parameter q = New(tokens), k = New(tokens), v = New(tokens), logAlpha = New(rates, 0.1f, -0.5f), theta = New(rates, 0.05f, 0.2f),
            erase = New(rates, 0.1f, 0.3f),
            mu = New(rates, 0.1f, 0.4f), w1 = New(first, 0.5f), w2 = New(second), p1 = New(first, 0.3f), p2 = New(second, 0.3f),
            start1 = New(first, 0.5f), start2 = New(second);
        foreach (Func<DeepMemoryResults, Variable> result in (Func<DeepMemoryResults, Variable>[])
            [r => r.O, r => r.W1, r => r.W2, r => r.P1!, r => r.P2!, r => r.ChunkStart1, r => r.ChunkStart2])
        {
            Check(
                t => result(t.DeepMemory(
                    new DeepMemoryVariables(
                        t.Use(q), t.Use(k), t.Use(v), t.Use(w1), t.Use(w2), t.Use(logAlpha), t.Use(theta), t.Use(erase), t.Use(mu),
                        t.Use(p1), t.Use(p2), t.Use(start1), t.Use(start2)),
                    new DeepMemorySettings(3, objective, ScanRead.After) { Phase = 2 })),
                q, k, v, logAlpha, theta, erase, mu, w1, w2, p1, p2, start1, start2);
        }
    }

    [Fact]
    public void UseFirstOrder_SendsTheCarriedStatesGradientToItsStart()
    {
        Parameter start = New([2, 3]);
        using Tensor carried = _device.From([1, 2, 3], [1, 2, 3, 4, 5, 6]);
        using var tape = new Tape(_device);
        Variable memory = tape.UseFirstOrder(start, carried);
        using Tensor seed = _device.Full([1, 2, 3], 1);
        tape.Backward(tape.Multiply(memory, memory), seed);
        Assert.Equal([2f, 4, 6, 8, 10, 12], start.Error.ToArray());
    }

    [Fact]
    public void Backward_AddsToErrorsAcrossTapes()
    {
        Parameter x = New([3]);
        for (int i = 0; i < 2; i++)
        {
            using var tape = new Tape(_device);
            using Tensor seed = _device.Full([3], 1);
            tape.Backward(tape.Add(tape.Use(x), tape.Use(x)), seed);
        }

        Assert.Equal([4f, 4, 4], x.Error.ToArray());
    }

    [Fact]
    public void Input_KeepsItsGradientWhenAsked()
    {
        using Tensor value = _device.From([2], [3, 5]);
        using var tape = new Tape(_device);
        Variable x = tape.Input(value, needsGradient: true);
        using Tensor seed = _device.Full([2], 1);
        tape.Backward(tape.Multiply(x, x), seed);
        Assert.Equal([6f, 10], x.Gradient!.ToArray());
    }

    [Fact]
    public void Backward_RefusesASecondRunAndATapeThatDoesNotRecord()
    {
        Parameter x = New([2]);
        using Tensor seed = _device.Full([2], 1);
        using var tape = new Tape(_device);
        Variable y = tape.Add(tape.Use(x), tape.Use(x));
        tape.Backward(y, seed);
        Assert.Throws<InvalidOperationException>(() => tape.Backward(y, seed));
        using var silent = new Tape(_device, recording: false);
        Variable z = silent.Add(silent.Use(x), silent.Use(x));
        Assert.False(z.NeedsGradient);
        Assert.Throws<InvalidOperationException>(() => silent.Backward(z, seed));
    }

    [Fact]
    public void Errors_NameTheArgumentTheShapeAndWhatWasExpected()
    {
        Parameter x = New([2, 3]), w = New([4, 3]);
        using var tape = new Tape(_device);
        ArgumentException e = Assert.Throws<ArgumentException>(() => tape.Linear(tape.Use(x), tape.Use(w)));
        Assert.Contains("[2, 3]", e.Message, StringComparison.Ordinal);
        Assert.Contains("[4, 3]", e.Message, StringComparison.Ordinal);
    }

    public void Dispose() => _device.Dispose();

    private Parameter New(Shape shape, float deviation = 1, float mean = 0)
    {
        float[] values = new float[shape.ElementCount];
        new CounterRandom(7, _stream++).FillNormal(values, deviation);
        for (int i = 0; i < values.Length; i++)
            values[i] += mean;
        return new Parameter($"p{_stream}", _device.From(shape, values));
    }

    // L = Σ seed ∘ f; dL/dθ against central differences of fourth order.
    private void Check(Func<Tape, Variable> f, params Parameter[] parameters)
    {
        float[] weights;
        using (var tape = new Tape(_device))
        {
            Variable y = f(tape);
            weights = new float[y.Value.Count];
            new CounterRandom(8, _stream++).FillNormal(weights, 1);
            foreach (Parameter p in parameters)
                p.Error.Fill(0);
            using Tensor seed = _device.From(y.Shape, weights);
            tape.Backward(y, seed);
        }

        foreach (Parameter p in parameters)
        {
            double[] expected = new double[p.Value.Count];
            for (int i = 0; i < expected.Length; i++)
            {
                const float Step = 1e-2f;
                float kept = p.Value.Span[i];
                double At(float value)
                {
                    p.Value.Span[i] = value;
                    using var tape = new Tape(_device, recording: false);
                    return FiniteDifferences.Dot(Compare.ToDouble(f(tape).Value.ToArray()), Compare.ToDouble(weights));
                }

                expected[i] = (8 * (At(kept + Step) - At(kept - Step)) - (At(kept + 2 * Step) - At(kept - 2 * Step))) / (12 * Step);
                p.Value.Span[i] = kept;
            }

            Compare.Close(p.Name, p.Error.ToArray(), expected, Tolerance);
        }
    }
}
