using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>Runs scan cases on a backend and judges them by <see cref="ReferenceScan"/>.</summary>
public abstract class ScanSuite(string backend) : BackendTests(backend)
{
    /// <summary>
    /// Hostile shapes [B, T, H, Dk, Dv] and a chunk length: one token; a token less, none, one more than a chunk;
    /// several chunks and a rest; widths of 1, 3, 17, of two kinds, and beyond a vector's or a block's.
    /// </summary>
    protected static readonly (int[] Shape, int Chunk)[] Shapes =
    [
        ([1, 1, 1, 1, 1], 8),
        ([1, 1, 2, 16, 8], 1),
        ([1, 7, 1, 3, 3], 8),
        ([1, 8, 1, 17, 17], 8),
        ([1, 9, 2, 17, 3], 8),
        ([2, 29, 3, 24, 40], 8),
        ([2, 33, 2, 40, 24], 16),
        ([1, 129, 1, 64, 64], 64),
        ([3, 21, 3, 1, 5], 4),
        ([1, 20, 1, 5, 1], 6),
        ([1, 35, 1, 3, 131], 16),
        ([2, 40, 5, 4, 4], 13),
        ([1, 300, 1, 8, 8], 256),
    ];

    /// <summary>What a run left, on the host; null where there is none.</summary>
    protected sealed record ScanRun(float[] O, float[] S, float[]? P, float[]? States, float[]? Momenta, float[]? ChunkStart);

    /// <summary>Gradients a run left, on the host; null where not asked for or without input.</summary>
    protected sealed record ScanGradientRun
    {
        public Dictionary<string, float[]> Named { get; } = [];

        public float[] this[string name] => Named[name];
    }

    protected static float[] ToFloat(double[] elements) => Array.ConvertAll(elements, e => (float)e);

    protected Tensor? Optional(Shape shape, double[]? elements) => elements is null ? null : From(shape, ToFloat(elements));

    protected ScanInputs Inputs(ScanCase c) => new()
    {
        Q = From(c.KeyShape, ToFloat(c.Q)),
        K = From(c.KeyShape, ToFloat(c.K)),
        U = From(c.ValueShape, ToFloat(c.U)),
        LogAlpha = Optional(c.GateShape, c.LogAlpha),
        Erase = Optional(c.GateShape, c.Erase),
        Mu = Optional(c.GateShape, c.Mu),
        Theta = Optional(c.GateShape, c.Theta),
        S0 = Optional(c.StateShape, c.S0),
        P0 = Optional(c.StateShape, c.P0),
        ChunkStart = Optional(c.StateShape, c.ChunkStart),
    };

    /// <summary>The forward pass into tensors that start as NaN; final states into the initial ones where asked.</summary>
    protected ScanRun Forward(ScanCase c, bool save = true, bool inPlace = false)
    {
        ScanInputs inputs = Inputs(c);
        bool momentum = c.Mu is not null;
        var outputs = new ScanOutputs
        {
            O = Unwritten(c.ValueShape),
            S = inPlace ? inputs.S0! : Unwritten(c.StateShape),
            P = !momentum ? null : inPlace ? inputs.P0! : Unwritten(c.StateShape),
            ChunkStart = !c.Settings.HasMeaningfulChunk ? null : inPlace
            && inputs.ChunkStart is not null ? inputs.ChunkStart : Unwritten(c.StateShape),
            Saved = save ? new ScanSaved(Unwritten(c.SavedShape), momentum ? Unwritten(c.SavedShape) : null) : default,
        };
        Scan.Forward(inputs, c.Settings, outputs);
        return new ScanRun(
            outputs.O.ToArray(), outputs.S.ToArray(), outputs.P?.ToArray(), outputs.Saved.States?.ToArray(),
            outputs.Saved.Momenta?.ToArray(), outputs.ChunkStart?.ToArray());
    }

    /// <summary>
    /// The backward pass, after a forward pass of the same backend, into tensors that start as NaN. A gradient is asked
    /// for where its input is given and <paramref name="wanted"/> agrees; those of S0 and P0 where there is such a state.
    /// </summary>
    protected ScanGradientRun Backward(ScanCase c, ScanUpstream upstream, Func<string, bool>? wanted = null)
    {
        ScanInputs inputs = Inputs(c);
        bool momentum = c.Mu is not null;
        var saved = new ScanSaved(Unwritten(c.SavedShape), momentum ? Unwritten(c.SavedShape) : null);
        Scan.Forward(inputs, c.Settings, new ScanOutputs
        {
            O = Unwritten(c.ValueShape),
            S = Unwritten(c.StateShape),
            P = momentum ? Unwritten(c.StateShape) : null,
            Saved = saved,
        });
        var gradients = new ScanGradients
        {
            Q = Want("dq", c.KeyShape, true),
            K = Want("dk", c.KeyShape, true),
            U = Want("du", c.ValueShape, true),
            LogAlpha = Want("dlog_alpha", c.GateShape, c.LogAlpha is not null),
            Erase = Want("derase", c.GateShape, c.Erase is not null),
            Mu = Want("dmu", c.GateShape, momentum),
            Theta = Want("dtheta", c.GateShape, c.Theta is not null),
            S0 = Want("ds0", c.StateShape, true),
            P0 = Want("dp0", c.StateShape, momentum),
            ChunkStart = Want("dchunk_start", c.StateShape, c.ChunkStart is not null),
        };
        Scan.Backward(
            inputs, c.Settings, saved,
            new ScanOutputGradients(Optional(c.ValueShape, upstream.O), Optional(c.StateShape, upstream.S),
                Optional(c.StateShape, upstream.P), Optional(c.StateShape, upstream.ChunkStart)), gradients);

        var run = new ScanGradientRun();
        foreach ((string name, Tensor? tensor) in new[]
        {
            ("dq", gradients.Q), ("dk", gradients.K), ("du", gradients.U), ("dlog_alpha", gradients.LogAlpha), ("derase", gradients.Erase),
            ("dmu", gradients.Mu), ("dtheta", gradients.Theta), ("ds0", gradients.S0), ("dp0", gradients.P0),
            ("dchunk_start", gradients.ChunkStart),
        })
        {
            if (tensor is not null)
                run.Named.Add(name, tensor.ToArray());
        }

        return run;

        Tensor? Want(string name, Shape shape, bool given) => given && (wanted is null || wanted(name)) ? Unwritten(shape) : null;
    }

    protected static ScanUpstream Upstream(ScanCase c, ulong seed = 99)
    {
        var data = new TestData(seed);
        double[] dO = Compare.ToDouble(data.Normal(c.ValueShape)), dS = Compare.ToDouble(data.Normal(c.StateShape));
        double[] dP = Compare.ToDouble(data.Normal(c.StateShape)), dChunkStart = Compare.ToDouble(data.Normal(c.StateShape));
        return new ScanUpstream(dO, dS, c.Mu is null ? null : dP, c.Settings.HasMeaningfulChunk ? dChunkStart : null);
    }

    /// <summary>Fails unless the run has the reference's results and chunk-start states.</summary>
    protected static void CheckForward(ScanCase c, ScanRun run, double tolerance)
    {
        ScanResult expected = ReferenceScan.Forward(c);
        Compare.Close("o", run.O, expected.O, tolerance);
        Compare.Close("s", run.S, expected.S, tolerance);
        if (run.P is not null)
            Compare.Close("p", run.P, expected.P, tolerance);
        if (run.ChunkStart is not null)
            Compare.Close("chunk start", run.ChunkStart, expected.ChunkStart, tolerance);
        if (run.States is not null)
            CheckSaved("states", run.States, expected.States, c.S0);
        if (run.Momenta is not null)
            CheckSaved("momenta", run.Momenta, expected.Momenta, c.P0);

        void CheckSaved(string name, float[] saved, double[] starts, double[]? initial)
        {
            int state = c.KeyDim * c.ValueDim, chunks = c.Settings.Chunks(c.Time);
            for (int head = 0; head < c.Batch * c.Heads; head++)
            {
                float[] first = initial is null ? new float[state] : ToFloat(initial[(head * state)..((head + 1) * state)]);
                Compare.SameBits($"{name} at the start", saved.AsSpan(head * chunks * state, state), first);
            }

            Compare.Close(name, saved, starts, tolerance);
        }
    }

    /// <summary>Fails unless every gradient of the run is the reference's.</summary>
    protected static void CheckBackward(ScanCase c, ScanUpstream upstream, ScanGradientRun run, double tolerance)
    {
        ScanInputGradients g = ReferenceScan.Backward(c, upstream);
        Assert.NotEmpty(run.Named);
        foreach ((string name, float[] actual) in run.Named)
        {
            Compare.Close(name, actual, name switch
            {
                "dq" => g.Q,
                "dk" => g.K,
                "du" => g.U,
                "dlog_alpha" => g.LogAlpha,
                "derase" => g.Erase,
                "dmu" => g.Mu,
                "dtheta" => g.Theta,
                "ds0" => g.S0,
                "dp0" => g.P0,
                "dchunk_start" => g.ChunkStart,
                _ => throw new ArgumentException(name),
            }, tolerance);
        }
    }

    protected void CheckBoth(ScanCase c, Tolerance tolerance)
    {
        CheckForward(c, Forward(c), tolerance.Forward);
        ScanUpstream upstream = Upstream(c);
        CheckBackward(c, upstream, Backward(c, upstream), tolerance.Gradient);
    }

    /// <summary>Every result of a case by name, for comparisons of bits.</summary>
    protected IReadOnlyList<(string Name, float[] Elements)> Everything(ScanCase c)
    {
        ScanRun run = Forward(c);
        var all = new List<(string, float[])> { ("o", run.O), ("s", run.S), ("states", run.States!) };
        if (run.P is not null)
            all.AddRange([("p", run.P), ("momenta", run.Momenta!)]);
        all.AddRange(Backward(c, Upstream(c)).Named.Select(g => (g.Key, g.Value)));
        return all;
    }

    protected static void Same(IReadOnlyList<(string Name, float[] Elements)> actual,
        IReadOnlyList<(string Name, float[] Elements)> expected)
    {
        Assert.Equal(expected.Select(e => e.Name), actual.Select(a => a.Name));
        for (int i = 0; i < actual.Count; i++)
            Compare.SameBits(actual[i].Name, actual[i].Elements, expected[i].Elements);
    }
}
