using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>Causal softmax attention on every backend.</summary>
public abstract class AttentionTests(string backend) : DenseTests(backend)
{
    // [B, T, S, H, Dk, Dv]: one token; around panels and blocks; caches of keys; widths that no vector divides.
    private static readonly int[][] s_shapes =
    [
        [1, 1, 1, 1, 1, 1],
        [2, 1, 1, 3, 5, 7],
        [1, 1, 200, 2, 16, 24],
        [1, 2, 131, 1, 64, 64],
        [2, 15, 15, 2, 8, 8],
        [1, 16, 16, 1, 8, 16],
        [1, 17, 17, 2, 9, 17],
        [2, 33, 40, 2, 12, 20],
        [1, 63, 65, 2, 16, 16],
        [1, 64, 64, 1, 16, 16],
        [1, 65, 65, 1, 31, 33],
        [1, 127, 127, 1, 17, 5],
        [1, 129, 129, 1, 16, 65],
        [1, 257, 257, 1, 16, 8],
        [1, 70, 300, 1, 33, 15],
        [3, 40, 40, 7, 4, 6],
    ];

    public static TheoryData<int> Shapes() => [.. Enumerable.Range(0, s_shapes.Length)];

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Forward_MatchesReference(int shape)
    {
        AttentionCase c = Create(shape);
        AttentionOutputs outputs = Forward(c);
        (double[] o, double[] logSums) = ReferenceAttention.Forward(c);
        Compare.Close("o", outputs.O, o, Tolerances.Attention.Forward);
        Compare.Close("log sums", outputs.LogSums!, logSums, Tolerances.Attention.Forward);
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Backward_MatchesReference(int shape)
    {
        AttentionCase c = Create(shape);
        Dictionary<string, Tensor> run = Backward(c);
        (double[] dq, double[] dk, double[] dv) = ReferenceAttention.Backward(c);
        Compare.Close("dv", run["dv"], dv, Tolerances.Attention.Gradient);
        if (c.Keys > 1)
        {
            Compare.Close("dq", run["dq"], dq, Tolerances.Attention.Gradient);
            Compare.Close("dk", run["dk"], dk, Tolerances.Attention.Gradient);
            return;
        }

        // Nothing but what rounding leaves of a difference that is 0.
        Assert.All([.. run["dq"].ToArray(), .. run["dk"].ToArray()], g => Assert.InRange(Math.Abs(g), 0, 1e-6f));
    }

    [LargeFact]
    public void GradientsThatAreNotWanted_ChangeNoOther()
    {
        AttentionCase c = AttentionCase.Create(3, [2, 70, 75, 2, 9, 17]);
        Dictionary<string, Tensor> all = Backward(c);
        foreach (string[] names in (string[][])[["dq"], ["dk"], ["dv"], ["dq", "dk"], ["dq", "dv"], ["dk", "dv"], []])
        {
            foreach ((string name, Tensor gradient) in Backward(c, names))
                Compare.SameBits(name, gradient.ToArray(), all[name].ToArray());
        }
    }

    [Fact]
    public void LogSums_MayBeLeftOut()
    {
        AttentionCase c = AttentionCase.Create(4, [1, 40, 43, 2, 8, 8]);
        Tensor o = Output(c.OShape);
        Attention.Forward(Inputs(c), new AttentionSettings(c.Scale), new AttentionOutputs { O = o });
        Compare.SameBits("o", o.ToArray(), Forward(c).O.ToArray());
    }

    [LargeFact]
    public void CachedKeys_ContinueASequence()
    {
        // The last 30 queries of 100, with the first 70 tokens' keys in the cache.
        AttentionCase c = AttentionCase.Create(5, [1, 100, 100, 2, 8, 12]);
        AttentionInputs all = Inputs(c);
        Tensor o = Output([1, 30, 2, 12]);
        Attention.Forward(all with { Q = Input([1, 30, 2, 8], all.Q.ToArray().AsSpan(70 * 2 * 8)) }, new AttentionSettings(c.Scale),
            new AttentionOutputs
            {
                O = o,
            });
        Compare.Close("o", o, ReferenceAttention.Forward(c).O.AsSpan(70 * 2 * 12), Tolerances.Attention.Forward);
    }

    [Theory]
    [InlineData(1e4f)]
    [InlineData(-1e4f)]
    public void LargeScores_DoNotOverflow(float score)
    {
        // Key 0 scores 0 and every other key ± the same.
        const int Time = 70;
        float[] keys = new float[Time];
        keys.AsSpan(1).Fill(score);
        float[] ones = new float[Time];
        ones.AsSpan().Fill(1);
        float[] values = new TestData(6).Normal(Time);
        var inputs = new AttentionInputs
        {
            Q = Input([1, Time, 1, 1], ones), K = Input([1, Time, 1, 1], keys), V = Input([1, Time, 1, 1], values),
        };
        var outputs = new AttentionOutputs { O = Output([1, Time, 1, 1]), LogSums = Output([1, Time, 1]) };
        Attention.Forward(inputs, new AttentionSettings(1), outputs);
        double[] expected = new double[Time];
        double sum = 0;
        for (int t = 0; t < Time; t++)
        {
            sum += t == 0 ? 0 : values[t];
            expected[t] = t == 0 || score < 0 ? values[0] : sum / t;
        }

        Compare.Close("o", outputs.O, expected, Tolerances.Attention.Forward);
        var gradients = new AttentionGradients { Q = Output([1, Time, 1, 1]), K = Output([1, Time, 1, 1]), V = Output([1, Time, 1, 1]) };
        Attention.Backward(inputs, new AttentionSettings(1), outputs, Input([1, Time, 1, 1], ones), gradients);
        foreach (Tensor gradient in (Tensor[])[gradients.Q, gradients.K, gradients.V])
            Compare.Finite("gradient", gradient.ToArray());
        Assert.Equal(Time, gradients.V.ToArray().Sum(), 2e-2f);
    }

    [LargeTheory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(64)]
    [InlineData(99)]
    public void Nan_ReachesNoEarlierQuery_AndNoOtherHead(int token)
    {
        const int Time = 97, Keys = 100, Heads = 3;
        AttentionCase clean = AttentionCase.Create(7, [2, Time, Keys, Heads, 9, 7]);
        (float[] o, float[] dq) = (Forward(clean).O.ToArray(), Backward(clean)["dq"].ToArray());
        foreach (bool inKey in (bool[])[true, false])
        {
            AttentionCase c = AttentionCase.Create(7, [2, Time, Keys, Heads, 9, 7]);
            int row = (Keys + token) * Heads + 1;
            if (inKey)
                c.K[row * 9 + 2] = double.NaN;
            else
                c.V[row * 7 + 2] = double.NaN;
            Check(o, Forward(c).O.ToArray(), 7, i => inKey || i == 2);
            Check(dq, Backward(c)["dq"].ToArray(), 9, _ => true);
        }

        void Check(float[] expected, float[] actual, int width, Func<int, bool> columns)
        {
            for (int i = 0; i < actual.Length; i++)
            {
                int head = i / width % Heads, t = i / width / Heads % Time, batch = i / width / Heads / Time;
                if (batch == 1 && head == 1 && t + Keys - Time >= token && columns(i % width))
                    Assert.True(float.IsNaN(actual[i]), $"[{batch}, {t}, {head}] is {actual[i]}, expected NaN.");
                else
                    Assert.Equal(expected[i], actual[i]);
            }
        }
    }

    [LargeFact]
    public void NanInAnUpstreamGradient_ReachesTheKeysItsQuerySees_AndNoOther()
    {
        const int Time = 97, Keys = 100, Heads = 3, Token = 40;
        AttentionCase clean = AttentionCase.Create(8, [2, Time, Keys, Heads, 9, 7]);
        Dictionary<string, Tensor> expected = Backward(clean);
        AttentionCase c = AttentionCase.Create(8, [2, Time, Keys, Heads, 9, 7]);
        c.DOutput[((Time + Token) * Heads + 1) * 7 + 3] = double.NaN;
        Dictionary<string, Tensor> actual = Backward(c);
        foreach ((string name, int width) in (ReadOnlySpan<(string, int)>)[("dk", 9), ("dv", 7)])
        {
            float[] a = actual[name].ToArray(), e = expected[name].ToArray();
            for (int i = 0; i < a.Length; i++)
            {
                int head = i / width % Heads, j = i / width / Heads % Keys, batch = i / width / Heads / Keys;
                if (batch != 1 || head != 1 || j > Token + Keys - Time)
                    Assert.Equal(e[i], a[i]);
                else if (name == "dk" || i % width == 3)
                    Assert.True(float.IsNaN(a[i]), $"{name}[{batch}, {j}, {head}] is {a[i]}, expected NaN.");
            }
        }
    }

    [Theory]
    [InlineData(0, 3, 3, 2)]
    [InlineData(2, 0, 0, 2)]
    [InlineData(2, 0, 5, 2)]
    [InlineData(2, 3, 3, 0)]
    public void EmptyInputs_GiveEmptyResultsAndZeroGradients(int batch, int time, int keys, int heads)
    {
        AttentionCase c = AttentionCase.Create(9, [batch, time, keys, heads, 4, 6]);
        Forward(c);
        Dictionary<string, Tensor> gradients = Backward(c);
        Assert.All([.. gradients["dk"].ToArray(), .. gradients["dv"].ToArray()], g => Assert.Equal(0, g));
    }

    [LargeFact]
    public void Threads_DoNotChangeBits()
    {
        // Few heads, whose keys are cut, and many.
        foreach (int[] shape in (int[][])[[1, 300, 310, 2, 16, 24], [2, 90, 90, 9, 8, 8]])
        {
            AttentionCase c = AttentionCase.Create(10, shape);
            SameBitsForAnyThreads(() =>
            {
                AttentionOutputs outputs = Forward(c);
                return [("o", outputs.O.ToArray()), ("log sums", outputs.LogSums!.ToArray()),
                    .. Backward(c).Select(g => (g.Key, g.Value.ToArray()))];
            });
        }
    }

    private static AttentionCase Create(int shape) => AttentionCase.Create((ulong)shape + 20, s_shapes[shape]);

    private static float[] ToFloat(double[] elements) => Array.ConvertAll(elements, e => (float)e);

    private AttentionInputs Inputs(AttentionCase c) => new()
    {
        Q = Input(c.QShape, ToFloat(c.Q)),
        K = Input(c.KShape, ToFloat(c.K)),
        V = Input(c.VShape, ToFloat(c.V)),
    };

    private AttentionOutputs Forward(AttentionCase c) => Forward(c, Inputs(c));

    private AttentionOutputs Forward(AttentionCase c, AttentionInputs inputs)
    {
        var outputs = new AttentionOutputs { O = Output(c.OShape), LogSums = Output(c.SumShape) };
        Attention.Forward(inputs, new AttentionSettings(c.Scale), outputs);
        return outputs;
    }

    private Dictionary<string, Tensor> Backward(AttentionCase c, params string[]? names)
    {
        names = names is { Length: > 0 } ? names : ["dq", "dk", "dv"];
        AttentionInputs inputs = Inputs(c);
        AttentionOutputs outputs = Forward(c, inputs);
        var run = new Dictionary<string, Tensor>();
        var gradients = new AttentionGradients { Q = Want("dq", c.QShape), K = Want("dk", c.KShape), V = Want("dv", c.VShape) };
        Attention.Backward(inputs, new AttentionSettings(c.Scale), outputs, Input(c.OShape, ToFloat(c.DOutput)), gradients);
        return run;

        Tensor? Want(string name, Shape shape)
        {
            if (!names.Contains(name))
                return null;
            Tensor gradient = Output(shape);
            run.Add(name, gradient);
            return gradient;
        }
    }
}

public sealed class ManagedAttentionTests() : AttentionTests("managed");

public sealed class CpuAttentionTests() : AttentionTests("cpu");

/// <summary>What the public attention refuses, with an error that names the argument, before anything is written.</summary>
public sealed class AttentionValidationTests : IDisposable
{
    private readonly Device _device = Device.Open("managed");
    private readonly Device _other = Device.Open("managed");
    private readonly List<Tensor> _tensors = [];

    public static TheoryData<string, string> Bad => new()
    {
        { "q", "q has shape [2, 5, 12], expected [B, T, H, Dk]" },
        { "k", "k has shape [2, 6, 3, 5], expected [2, 6, 3, 4]" },
        { "k heads", "k has shape [2, 6, 2, 4], expected [2, 6, 3, 4]" },
        { "few keys", "k has 4 tokens, expected at least q's 5" },
        { "v", "v has shape [2, 5, 3, 7], expected [2, 6, 3, 7]" },
        { "o", "o has shape [2, 6, 3, 7], expected [2, 5, 3, 7]" },
        { "log sums", "log sums has shape [2, 3, 5], expected [2, 5, 3]" },
        { "no log sums", "log sums is missing" },
        { "scale", "scale is NaN, expected a finite number" },
        { "device", "v is on 'managed', expected 'managed'" },
        { "do", "do has shape [2, 5, 3, 4], expected [2, 5, 3, 7]" },
        { "dk", "dk has shape [2, 5, 3, 4], expected [2, 6, 3, 4]" },
    };

    [Theory]
    [MemberData(nameof(Bad))]
    public void BadInput_IsRefusedBeforeAnythingIsWritten(string what, string message)
    {
        var settings = new AttentionSettings(1);
        var inputs = new AttentionInputs { Q = New(2, 5, 3, 4), K = New(2, 6, 3, 4), V = New(2, 6, 3, 7) };
        var outputs = new AttentionOutputs { O = New(2, 5, 3, 7), LogSums = New(2, 5, 3) };
        var gradients = new AttentionGradients { Q = New(2, 5, 3, 4), K = New(2, 6, 3, 4), V = New(2, 6, 3, 7) };
        Tensor dOutput = New(2, 5, 3, 7);
        Attention.Forward(inputs, settings, outputs);
        Attention.Backward(inputs, settings, outputs, dOutput, gradients);
        Tensor[] written = [outputs.O, outputs.LogSums!, gradients.Q!, gradients.K!, gradients.V!];
        foreach (Tensor tensor in written)
            tensor.Fill(5);
        bool backwardOnly = what is "no log sums" or "do" or "dk";
        switch (what)
        {
            case "q": inputs = inputs with { Q = New(2, 5, 12) }; break;
            case "k": inputs = inputs with { K = New(2, 6, 3, 5) }; break;
            case "k heads": inputs = inputs with { K = New(2, 6, 2, 4) }; break;
            case "few keys": inputs = inputs with { K = New(2, 4, 3, 4), V = New(2, 4, 3, 7) }; break;
            case "v": inputs = inputs with { V = New(2, 5, 3, 7) }; break;
            case "o": outputs = outputs with { O = New(2, 6, 3, 7) }; break;
            case "log sums": outputs = outputs with { LogSums = New(2, 3, 5) }; break;
            case "no log sums": outputs = outputs with { LogSums = null }; break;
            case "scale": settings = new AttentionSettings(float.NaN); break;
            case "device": inputs = inputs with { V = Track(_other.Zeros([2, 6, 3, 7])) }; break;
            case "do": dOutput = New(2, 5, 3, 4); break;
            case "dk": gradients = gradients with { K = New(2, 5, 3, 4) }; break;
        }

        if (!backwardOnly)
            Refused(() => Attention.Forward(inputs, settings, outputs));
        Refused(() => Attention.Backward(inputs, settings, outputs, dOutput, gradients));
        foreach (Tensor tensor in written)
            Assert.All(tensor.ToArray(), x => Assert.Equal(5, x));

        void Refused(Action action) =>
            Assert.Contains(message, Assert.ThrowsAny<ArgumentException>(action).Message, StringComparison.Ordinal);
    }

    public void Dispose()
    {
        foreach (Tensor tensor in _tensors)
            tensor.Dispose();
        _device.Dispose();
        _other.Dispose();
    }

    private Tensor New(params int[] shape) => Track(_device.Zeros(new Shape(shape)));

    private Tensor Track(Tensor tensor)
    {
        _tensors.Add(tensor);
        return tensor;
    }
}
