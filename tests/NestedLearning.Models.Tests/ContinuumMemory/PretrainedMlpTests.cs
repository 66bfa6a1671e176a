using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests;

public abstract class PretrainedMlpTests(string backend) : BackendTests(backend), IDisposable
{
    private const int Dim = 6;
    private const int Hidden = 10;
    private const int Layer = 3;

    private static readonly PretrainedMlpLayout s_plain = new("mlp{layer}.in", "mlp{layer}.out");

    private static readonly Dictionary<string, PretrainedMlpLayout> s_layouts = new()
    {
        ["gpt2"] = PretrainedMlpLayout.Gpt2,
        ["llama"] = PretrainedMlpLayout.Llama,
        ["plain"] = s_plain,
        ["gelu"] = s_plain with { InBias = "mlp{layer}.in_bias", Norm = NormKind.L2, OutputsFirst = false },
        ["gated"] = s_plain with
        {
            Gate = "mlp{layer}.gate",
            GateBias = "mlp{layer}.gate_bias",
            OutBias = "mlp{layer}.out_bias",
            Norm = NormKind.Layer,
            NormGain = "mlp{layer}.gain",
        },
    };

    private readonly string _path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());

    public static TheoryData<string, ContinuumVariant> Cases =>
        [.. s_layouts.Keys.SelectMany(l =>
            Enum.GetValues<ContinuumVariant>().Select(v => new TheoryDataRow<string, ContinuumVariant>(l, v)))];

    [Theory]
    [MemberData(nameof(Cases))]
    public void AMemory_BeginsAsThePretrainedMlp(string layout, ContinuumVariant variant)
    {
        (SafetensorsFile file, Dictionary<string, float[]> tensors) = Checkpoint(s_layouts[layout], "F32");
        PretrainedMlp mlp = PretrainedMlp.Read(file, s_layouts[layout], Layer);
        Assert.Equal((Dim, Hidden), (mlp.Dim, mlp.Hidden));
        using ContinuumMemory memory = ContinuumMemory.FromPretrained(Device, mlp, Configuration(variant));
        using Tensor x = From([2, 4, Dim], new TestData(1).Normal(8 * Dim));
        double[] expected = [.. Compare.ToDouble(x.ToArray()).Chunk(Dim).SelectMany(row => Sublayer(s_layouts[layout], tensors, row))];
        Compare.Close("y", Forward(memory, x), expected, 1e-6);

        // The starts are the pretrained weights too, so that a return is a return to them.
        memory.Levels.ReturnToStart();
        Compare.Close("y after a return", Forward(memory, x), expected, 1e-6);
    }

    [Theory]
    [InlineData("gpt2")]
    [InlineData("llama")]
    [InlineData("plain")]
    [InlineData("gelu")]
    [InlineData("gated")]
    public void Gradient_MatchesFiniteDifferences_InEveryForm(string layout)
    {
        PretrainedMlp mlp = PretrainedMlp.Read(Checkpoint(s_layouts[layout], "F32").File, s_layouts[layout], Layer);
        using ContinuumMemory memory = ContinuumMemory.FromPretrained(Device, mlp, Configuration(ContinuumVariant.Independent));
        using Tensor x = From([1, 3, Dim], new TestData(2).Normal(3 * Dim)), seed = From(x.Shape, new TestData(3).Normal(3 * Dim));
        double[] weights = Compare.ToDouble(seed.ToArray());
        using (var tape = new Tape(Device))
            tape.Backward(memory.Forward(tape, tape.Input(x)), seed);
        foreach (Parameter parameter in memory.Levels.Levels.SelectMany(l => l.Parameters)
            .Where(p => !p.Name.EndsWith(".start", StringComparison.Ordinal)))
        {
            float[] error = parameter.Error.ToArray();
            int count = Math.Min(12, error.Length);
            double[] expected = new double[count], actual = new double[count];
            for (int n = 0; n < count; n++)
            {
                const float Step = 0.01f;
                int i = (int)((long)n * error.Length / count);
                float kept = parameter.Value.Span[i];
                double At(float value)
                {
                    parameter.Value.Span[i] = value;
                    return FiniteDifferences.Dot(Compare.ToDouble(Forward(memory, x)), weights);
                }

                expected[n] = (8 * (At(kept + Step) - At(kept - Step)) - (At(kept + 2 * Step) - At(kept - 2 * Step))) / (12 * Step);
                parameter.Value.Span[i] = kept;
                actual[n] = error[i];
            }

            // Float32 sums of order one to six digits, over steps of a hundredth.
            Compare.Close(parameter.Name, actual, expected, 1e-3);
        }
    }

    [Theory]
    [InlineData("BF16")]
    [InlineData("F16")]
    [InlineData("F64")]
    public void HalfPrecision_IsReadAsItStands(string type)
    {
        (SafetensorsFile file, Dictionary<string, float[]> tensors) = Checkpoint(PretrainedMlpLayout.Llama, type);
        using ContinuumMemory memory = ContinuumMemory.FromPretrained(Device, PretrainedMlp.Read(file, PretrainedMlpLayout.Llama, Layer),
            Configuration(ContinuumVariant.Nested));
        using Tensor x = From([1, 4, Dim], new TestData(1).Normal(4 * Dim));
        double[] expected = [.. Compare.ToDouble(x.ToArray()).Chunk(Dim)
            .SelectMany(row => Sublayer(PretrainedMlpLayout.Llama, tensors, row))];
        Compare.Close("y", Forward(memory, x), expected, 1e-6);
    }

    [Fact]
    public void WhatIsMissingOrDoesNotFit_IsNamed()
    {
        SafetensorsFile gpt2 = Checkpoint(PretrainedMlpLayout.Gpt2, "F32").File;
        CheckpointException e = Assert.Throws<CheckpointException>(() => PretrainedMlp.Read(gpt2, PretrainedMlpLayout.Gpt2, 4));
        Assert.Contains("'h.4.mlp.c_fc.weight', 'h.4.mlp.c_proj.weight', 'h.4.mlp.c_fc.bias'", e.Message, StringComparison.Ordinal);
        Assert.Contains("no tensor 'x'", Assert.Throws<CheckpointException>(
            () => PretrainedMlp.Read(gpt2, PretrainedMlpLayout.Gpt2 with { OutBias = "x" }, Layer)).Message, StringComparison.Ordinal);

        // Read the wrong way round, the biases do not fit.
        e = Assert.Throws<CheckpointException>(() =>
            PretrainedMlp.Read(gpt2, PretrainedMlpLayout.Gpt2 with { OutputsFirst = true }, Layer));
        Assert.Contains("'h.3.mlp.c_fc.bias' has shape [10], expected [6]", e.Message, StringComparison.Ordinal);
        e = Assert.Throws<CheckpointException>(() =>
            PretrainedMlp.Read(gpt2, new PretrainedMlpLayout("h.3.ln_2.weight", "h.3.mlp.c_proj.weight"), Layer));
        Assert.Contains("[6], expected [hidden, dim]", e.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => PretrainedMlp.Read(gpt2, s_plain with { GateBias = "x" }, Layer));
        Assert.Throws<ArgumentException>(() => PretrainedMlp.Read(gpt2, s_plain with { NormGain = "x" }, Layer));
        Assert.Throws<ArgumentException>(() => PretrainedMlp.Read(gpt2, s_plain with { NormBias = "x", Norm = NormKind.Rms }, Layer));

        PretrainedMlp mlp = PretrainedMlp.Read(gpt2, PretrainedMlpLayout.Gpt2, Layer);
        Assert.Contains("'slow' has 4 hidden units, expected the MLP's 10", Refused(ContinuumVariant.Chained), StringComparison.Ordinal);
        Assert.Contains("The levels have together 9 hidden units", Refused(ContinuumVariant.Independent), StringComparison.Ordinal);

        string Refused(ContinuumVariant variant) =>
            Assert.Throws<ArgumentException>(() => ContinuumMemory.FromPretrained(Device, mlp, new ContinuumMemoryConfiguration
            {
                Levels = [new("fast", 1, 1, 5), new("slow", 2, 1, 4)], Settings = new ContinuumSettings { Variant = variant },
            })).Message;
    }

    protected override void Dispose(bool disposing)
    {
        File.Delete(_path);
        base.Dispose(disposing);
    }

    private static ContinuumMemoryConfiguration Configuration(ContinuumVariant variant)
    {
        bool shared = variant == ContinuumVariant.Independent;
        return new ContinuumMemoryConfiguration
        {
            Settings = new ContinuumSettings { Variant = variant, GeneratorRank = 2 },
            Levels = [new("fast", 1, 0.1f, shared ? 3 : 5), new("middle", 4, 0.1f, shared ? 5 : 4),
                new("slow", 16, 0.1f, shared ? 2 : Hidden)],
        };
    }

    private float[] Forward(ContinuumMemory memory, Tensor x)
    {
        using var tape = new Tape(Device, recording: false);
        return memory.Forward(tape, tape.Input(x)).Value.ToArray();
    }

    // A file as others write it, and what its tensors hold.
    private (SafetensorsFile File, Dictionary<string, float[]> Tensors) Checkpoint(PretrainedMlpLayout layout, string type)
    {
        var data = new TestData(7);
        var shapes = new Dictionary<string, int[]>();
        int[] wide = layout.OutputsFirst ? [Hidden, Dim] : [Dim, Hidden], back = [wide[1], wide[0]];
        (string?, int[])[] named =
        [
            (layout.In, wide), (layout.Gate, wide), (layout.Out, back), (layout.InBias, [Hidden]), (layout.GateBias, [Hidden]),
                (layout.OutBias, [Dim]),
            (layout.NormGain, [Dim]), (layout.NormBias, [Dim]),
        ];
        foreach ((string? name, int[] shape) in named)
        {
            if (name is not null)
                shapes.Add(name.Replace("{layer}", $"{Layer}", StringComparison.Ordinal), shape);
        }

        var tensors = new Dictionary<string, float[]>();
        var header = new Dictionary<string, object>();
        using var bytes = new MemoryStream();
        foreach ((string name, int[] shape) in shapes)
        {
            long begin = bytes.Length;
            float[] values = data.Normal(new Shape(shape), 0.5f);
            for (int i = 0; i < values.Length; i++)
            {
                byte[] element = type switch
                {
                    "BF16" => BitConverter.GetBytes((ushort)(BitConverter.SingleToUInt32Bits(values[i]) >> 16)),
                    "F16" => BitConverter.GetBytes((Half)values[i]),
                    "F64" => BitConverter.GetBytes((double)values[i]),
                    _ => BitConverter.GetBytes(values[i]),
                };
                bytes.Write(element);
                values[i] = type switch
                {
                    "BF16" => BitConverter.UInt32BitsToSingle((uint)BitConverter.ToUInt16(element) << 16),
                    "F16" => (float)BitConverter.ToHalf(element),
                    _ => values[i],
                };
            }

            tensors.Add(name, values);
            header.Add(name, new Dictionary<string,
                object>
            { ["dtype"] = type, ["shape"] = shape, ["data_offsets"] = new[] { begin, bytes.Length } });
        }

        // GPT-2's checkpoints have a mask of booleans in every layer.
        header.Add("mask", new { dtype = "BOOL", shape = new[] { 1, 1, 3, 3 }, data_offsets = new[] { bytes.Length, bytes.Length + 9 } });
        bytes.Write([1, 0, 0, 1, 1, 0, 1, 1, 1]);

        byte[] json = Encoding.UTF8.GetBytes(JsonSerializer.Serialize(header)), length = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)json.Length);
        File.WriteAllBytes(_path, [.. length, .. json, .. bytes.ToArray()]);
        return (SafetensorsFile.Load(_path), tensors);
    }

    // x + f(x) in double, by the layout.
    private static double[] Sublayer(PretrainedMlpLayout layout, Dictionary<string, float[]> tensors, double[] x)
    {
        double At(string? name, int i, double otherwise) =>
            name is null ? otherwise : tensors[name.Replace("{layer}", $"{Layer}", StringComparison.Ordinal)][i];
        double Weight(string name, int input, int inputs, int output, int outputs) =>
            At(name, layout.OutputsFirst ? output * inputs + input : input * outputs + output, 0);

        double mean = layout.Norm == NormKind.Layer ? x.Average() : 0;
        double scale = layout.Norm switch
        {
            null => 1,
            NormKind.L2 => 1 / Math.Sqrt(x.Sum(e => e * e) + (double)layout.NormEpsilon * layout.NormEpsilon),
            _ => 1 / Math.Sqrt(x.Sum(e => (e - mean) * (e - mean)) / Dim + layout.NormEpsilon),
        };
        double[] u = [.. x.Select((e, d) => (e - mean) * scale * At(layout.NormGain, d, 1) + At(layout.NormBias, d, 0))];
        double[] y = [.. x.Select((e, d) => e + At(layout.OutBias, d, 0))];
        for (int n = 0; n < Hidden; n++)
        {
            double z = At(layout.InBias, n, 0), gate = At(layout.GateBias, n, 0);
            for (int d = 0; d < Dim; d++)
            {
                z += u[d] * Weight(layout.In, d, Dim, n, Hidden);
                if (layout.Gate is not null)
                    gate += u[d] * Weight(layout.Gate, d, Dim, n, Hidden);
            }

            double h = layout.Gate is null ? Activate(layout.Activation, z) : Activate(layout.Activation, gate) * z;
            for (int d = 0; d < Dim; d++)
                y[d] += h * Weight(layout.Out, n, Hidden, d, Dim);
        }

        return y;
    }

    private static double Activate(MlpActivation activation, double x) => activation switch
    {
        MlpActivation.Gelu => ReferenceDense.Activate(Activation.Gelu, x),
        MlpActivation.GeluTanh => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
        _ => x / (1 + Math.Exp(-x)),
    };
}

public sealed class ManagedPretrainedMlpTests() : PretrainedMlpTests("managed");

public sealed class CpuPretrainedMlpTests() : PretrainedMlpTests("cpu");
