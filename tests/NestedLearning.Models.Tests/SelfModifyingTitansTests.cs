using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests;

/// <summary>The layer of self-modifying Titans (docs/specification.md, section 6) by itself.</summary>
public abstract class SelfModifyingTitansTests(string backend) : BackendTests(backend)
{
    private const int Batch = 2, Dim = 16;

    // Chunks that divide the sequence and that do not, longer than it, and of one token.
    [Theory]
    [InlineData(1, 20)]
    [InlineData(5, 23)]
    [InlineData(8, 40)]
    [InlineData(64, 29)]
    public void AnySplit_GivesTheWholeSequencesOutputsAndState(int chunk, int time)
    {
        SelfModifyingTitans layer = NewLayer(new ModelConfiguration { Dim = Dim, Heads = 2, MemoryChunk = chunk, EtaScale = 0.2f });
        float[] x = new TestData(3).Normal([Batch, time, Dim]);
        (float[] expected, MixerState end) = Read(layer, x, [time]);
        var random = new CounterRandom(4, 0);
        for (int trial = 0; trial < 5; trial++)
        {
            // The first trial feeds token by token.
            var lengths = new List<int>();
            for (int start = 0; start < time; start += lengths[^1])
                lengths.Add(Math.Min(time - start, 1 + (trial == 0 ? 0 : random.Below((ulong)(100 * trial + start), 13))));
            (float[] y, MixerState state) = Read(layer, x, lengths);
            Compare.Close("y", y, expected, Tolerances.SelfModifying.Forward);
            Assert.Equal(end.Tensors.Select(t => t.Name), state.Tensors.Select(t => t.Name));
            foreach (((string name, Tensor actual), (_, Tensor whole)) in state.Tensors.Zip(end.Tensors))
                Compare.Close(name, actual, whole.ToArray(), Tolerances.SelfModifying.Forward);
            state.Dispose();
        }

        end.Dispose();
    }

    // Gradients of carried memories go to the start they began as, those of all sequences together.
    [Fact]
    public void CarriedMemories_OfABatch_TeachTheStart()
    {
        SelfModifyingTitans layer = NewLayer(new ModelConfiguration { Dim = Dim, Heads = 2, MemoryChunk = 8 });
        float[] x = new TestData(5).Normal([Batch, 12, Dim]);
        (_, MixerState state) = Read(layer, x, [12]);
        Parameter start = layer.Parameters.Single(p => p.Name.EndsWith("start", StringComparison.Ordinal));
        float[] Error(Tensor next, MixerState from)
        {
            start.Error.Fill(0);
            using var tape = new Tape(Device);
            (Variable y, MixerState after) = layer.Forward(tape, tape.Input(next), from);
            after.Dispose();
            using Tensor seed = Device.Full(y.Shape, 1);
            tape.Backward(y, seed);
            return start.Error.ToArray();
        }

        float[] both = Error(From([Batch, 12, Dim], x), state);
        double[] sum = new double[both.Length];
        for (int b = 0; b < Batch; b++)
        {
            float[] own = x[(b * 12 * Dim)..((b + 1) * 12 * Dim)];
            (_, MixerState alone) = Read(layer, own, [12]);
            float[] error = Error(From([1, 12, Dim], own), alone);
            for (int i = 0; i < sum.Length; i++)
                sum[i] += error[i];
            alone.Dispose();
        }

        Assert.NotEqual(0, sum.Max());
        Compare.Close("dstart", both, sum, Tolerances.SelfModifying.Gradient);
        state.Dispose();
    }

    [Fact]
    public void FusedOperation_ComputesFiveMatricesOfOneChunk()
    {
        var options = new SelfModifyingOptions();
        Assert.True(options.IsFused(16));
        Assert.True((options with { ExactGradient = true, Read = ScanRead.ChunkStart, Key = new(Chunk: 16) }).IsFused(16));
        Assert.False((options with { Key = new(Chunk: 8) }).IsFused(16));
        Assert.False((options with { Rate = new(MemoryKind.Deep) }).IsFused(16));
        Assert.False((options with { Query = new() }).IsFused(16));
    }

    public static TheoryData<SelfModifyingOptions, string> BadOptions => new()
    {
        { new() { Read = (ScanRead)3 }, "Read is 3, expected one of After, Before, ChunkStart" },
        { new() { Value = new((MemoryKind)2) }, "The kind of M_v is 2, expected one of Matrix, Deep" },
        { new() { Decay = new(Chunk: 257) }, "The chunk of M_alpha is 257 tokens, expected 1 to 256" },
        { new() { Query = new(Chunk: 0) }, "The chunk of M_q is 0 tokens" },
        { new() { Memory = new(MemoryKind.Deep, Hidden: 0) }, "The hidden units of M_mem are 0, expected at least 1" },
        { new() { Key = new(MemoryKind.Deep), ExactGradient = true }, "ExactGradient is true and M_k deep, expected matrices" },
    };

    [Theory]
    [MemberData(nameof(BadOptions))]
    public void OptionOutOfRange_IsRefused(SelfModifyingOptions options, string message)
    {
        ArgumentException e = Assert.Throws<ArgumentException>(() => new SequenceModel(Device, ModelConfiguration.Hope with
        {
            SelfModifying = options,
        }));
        Assert.Contains(message, e.Message, StringComparison.Ordinal);
    }

    private SelfModifyingTitans NewLayer(ModelConfiguration configuration)
    {
        var layer = new SelfModifyingTitans(new ParameterFactory(Device, 1), "titans", configuration, 1);
        foreach (Parameter parameter in layer.Parameters)
        {
            Track(parameter.Value);
            Track(parameter.Error);
        }

        return layer;
    }

    // x [B, T, D] in parts of these lengths, from a new state.
    private (float[] Y, MixerState State) Read(SelfModifyingTitans layer, float[] x, IReadOnlyList<int> lengths)
    {
        int time = lengths.Sum(), batch = x.Length / (time * Dim), start = 0;
        var state = new MixerState(Device, layer.State, batch);
        float[] y = new float[x.Length];
        foreach (int length in lengths)
        {
            using var tape = new Tape(Device, recording: false);
            float[] part = ScanCase.SliceTime(x, batch, Dim, start, start + length);
            (Variable output, MixerState next) = layer.Forward(tape, tape.Input(From([batch, length, Dim], part)), state);
            float[] read = output.Value.ToArray();
            for (int b = 0; b < batch; b++)
                read.AsSpan(b * length * Dim, length * Dim).CopyTo(y.AsSpan((b * time + start) * Dim));
            state.Dispose();
            state = next;
            start += length;
        }

        return (y, state);
    }
}

public sealed class ManagedSelfModifyingTitansTests() : SelfModifyingTitansTests("managed");

public sealed class CpuSelfModifyingTitansTests() : SelfModifyingTitansTests("cpu");
