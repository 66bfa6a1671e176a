using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests;

/// <summary>
/// Self-modifying memories in their general form, judged by <see cref="ReferenceSelfModifyingMemories"/>: every kind of
/// memory in every place, chunks of their own, both objectives and gradients, every read, both queries.
/// </summary>
public abstract class ComposedMemoriesTests(string backend) : BackendTests(backend)
{
    private static readonly MemoryOptions s_deep = new(MemoryKind.Deep, Hidden: 5);

    // Memories by name; those whose gradients have an exact form are matrices.
    private static readonly (string Name, SelfModifyingOptions Options)[] s_memories =
    [
        ("matrices", new()),
        ("adaptive query", new() { Query = new(Chunk: 3) }),
        ("chunks", new() { Key = new(Chunk: 2), Value = new(Chunk: 3), Rate = new(Chunk: 4), Decay = new(Chunk: 1), Memory = new(Chunk: 7),
            Query = new() }),
        ("deep mem", new() { Memory = s_deep }),
        ("deep key and value", new() { Key = s_deep, Value = s_deep with { Chunk = 3 } }),
        ("deep rates", new() { Rate = s_deep, Decay = s_deep with { Chunk = 2 } }),
        ("all deep", new() { Key = s_deep, Value = s_deep, Rate = s_deep, Decay = s_deep, Memory = s_deep with { Chunk = 6 },
            Query = s_deep with { Chunk = 3 } }),
    ];

    public static TheoryData<string, MemoryObjective, ScanRead, bool> Cases()
    {
        var cases = new TheoryData<string, MemoryObjective, ScanRead, bool>();
        foreach ((string name, _) in s_memories)
        {
            foreach (MemoryObjective objective in Enum.GetValues<MemoryObjective>())
            {
                foreach (ScanRead read in Enum.GetValues<ScanRead>())
                {
                    cases.Add(name, objective, read, false);
                    if (!name.Contains("deep", StringComparison.Ordinal))
                        cases.Add(name, objective, read, true);
                }
            }
        }

        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Reads_MatchReference(string memories, MemoryObjective objective, ScanRead read, bool exact)
    {
        Layer layer = New(memories, objective, read, exact, heads: 2, width: 8);
        Inputs inputs = NewInputs(layer, batch: 2, time: 23);
        (float[] reads, MixerState state) = Read(layer, inputs, [23]);
        state.Dispose();
        Compare.Close("reads", reads, ReferenceSelfModifyingMemories.Forward(layer.Case(inputs)), Tolerances.ComposedMemories.Forward);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Gradients_MatchFiniteDifferences(string memories, MemoryObjective objective, ScanRead read, bool exact)
    {
        Layer layer = New(memories, objective, read, exact, heads: 2, width: 3);
        Inputs inputs = NewInputs(layer, batch: 2, time: 8);
        float[] dReads = new TestData(9).Normal(inputs.Shape);
        using var tape = new Tape(Device);
        Variable x = tape.Input(From(inputs.Shape, inputs.X), needsGradient: true);
        Variable? q = inputs.Q is null ? null : tape.Input(From(inputs.Shape, inputs.Q), needsGradient: true);
        using var state = new MixerState(Device, [.. layer.Memories.State], 2);
        tape.Backward(layer.Memories.Forward(tape, x, q, state).Reads, From(inputs.Shape, dReads));

        ReferenceMemoriesCase c = layer.Case(inputs);
        double[] upstream = Compare.ToDouble(dReads);
        double Loss() => FiniteDifferences.Dot(ReferenceSelfModifyingMemories.Forward(c), upstream);
        void Check(string name, Tensor actual, double[] input) =>
            Compare.Close(name, actual, FiniteDifferences.Gradient(Loss, input), Tolerances.ComposedMemories.Gradient);
        Check("dx", x.Gradient!, c.X);
        if (q is not null)
            Check("dq", q.Gradient!, c.Q!);
        foreach ((Parameter start, double[] values) in layer.Memories.Parameters.Zip(c.Memories.SelectMany(m => m.Starts)))
            Check(start.Name, start.Error, values);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void AnySplit_GivesTheWholeSequencesReadsAndState(string memories, MemoryObjective objective, ScanRead read, bool exact)
    {
        const int Time = 25;
        Layer layer = New(memories, objective, read, exact, heads: 2, width: 6);
        Inputs inputs = NewInputs(layer, batch: 2, Time);
        (float[] expected, MixerState end) = Read(layer, inputs, [Time]);
        var random = new CounterRandom(7, 0);
        for (int trial = 0; trial < 3; trial++)
        {
            // The first trial feeds token by token.
            var lengths = new List<int>();
            for (int start = 0; start < Time; start += lengths[^1])
                lengths.Add(Math.Min(Time - start, 1 + (trial == 0 ? 0 : random.Below((ulong)(100 * trial + start), 9))));
            (float[] reads, MixerState state) = Read(layer, inputs, lengths);
            Compare.Close("reads", reads, expected, Tolerances.ComposedMemories.Forward);
            Assert.Equal(end.Tensors.Select(t => t.Name), state.Tensors.Select(t => t.Name));
            foreach (((string name, Tensor actual), (_, Tensor whole)) in state.Tensors.Zip(end.Tensors))
                Compare.Close(name, actual, whole.ToArray(), Tolerances.ComposedMemories.Forward);
            state.Dispose();
        }

        end.Dispose();
    }

    [Theory]
    [InlineData(MemoryObjective.L2, ScanRead.Before, false)]
    [InlineData(MemoryObjective.L2, ScanRead.After, true)]
    [InlineData(MemoryObjective.L2, ScanRead.ChunkStart, false)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.Before, false)]
    public void MatricesOfOneChunk_AreTheFusedOperation(MemoryObjective objective, ScanRead read, bool exact)
    {
        const int Width = 6, Heads = 2;
        Layer composed = New("matrices", objective, read, exact, Heads, Width);
        var fused = new FusedMemories(new ParameterFactory(Device, 1), "fused", Heads, Width, composed.Settings);
        Parameter all = Own(fused.Parameters.Single());
        int columns = SelfModifyingSettings.StateColumns(Width), column = 0;
        foreach (Parameter start in new[] { 0, 1, 4, 2, 3 }.Select(i => composed.Memories.Parameters.ElementAt(i)))
        {
            int width = start.Value.Shape[^1];
            float[] elements = start.Value.ToArray();
            for (int row = 0; row < Heads * Width; row++)
                elements.AsSpan(row * width, width).CopyTo(all.Value.Span[(row * columns + column)..]);
            column += width;
        }

        Inputs inputs = NewInputs(composed, batch: 2, time: 21);
        float[] dReads = new TestData(10).Normal(inputs.Shape);
        (float[] Reads, float[] Dx) Run(ISelfModifyingMemories memories)
        {
            using var tape = new Tape(Device);
            using var state = new MixerState(Device, [.. memories.State], 2);
            Variable x = tape.Input(From(inputs.Shape, inputs.X), needsGradient: true);
            Variable reads = memories.Forward(tape, x, tape.Input(From(inputs.Shape, inputs.Q!)), state).Reads;
            float[] result = reads.Value.ToArray();
            tape.Backward(reads, From(inputs.Shape, dReads));
            return (result, x.Gradient!.ToArray());
        }

        (float[] expected, float[] expectedDx) = Run(fused);
        (float[] actual, float[] actualDx) = Run(composed.Memories);
        Compare.Close("reads", actual, expected, Tolerances.ComposedMemories.Forward);
        Compare.Close("dx", actualDx, expectedDx, Tolerances.ComposedMemories.Gradient);
    }

    private Layer New(string memories, MemoryObjective objective, ScanRead read, bool exact, int heads, int width)
    {
        SelfModifyingOptions options = s_memories.Single(m => m.Name == memories).Options with { ExactGradient = exact, Read = read };
        options.Validate();
        var settings = new SelfModifyingSettings(5, objective, read, EtaScale: 0.3f, EtaBias: -0.5f, AlphaBias: 2, NormalizeValues: true)
        {
            ExactGradient = exact,
        };
        var layer = new Layer(new ComposedMemories(new ParameterFactory(Device, 1), "m", heads, width, settings, options), settings,
            options, heads, width);
        var data = new TestData(2);
        foreach (Parameter start in layer.Memories.Parameters)
            Own(start).Value.CopyFrom(data.Normal(start.Value.Shape, 1 / MathF.Sqrt(start.Value.Shape[^2])));
        return layer;
    }

    private Parameter Own(Parameter parameter)
    {
        Track(parameter.Value);
        Track(parameter.Error);
        return parameter;
    }

    private static Inputs NewInputs(Layer layer, int batch, int time)
    {
        Shape shape = [batch, time, layer.Heads, layer.Width];
        var data = new TestData(3);
        float[] x = data.UnitRows(shape), q = data.UnitRows(shape);
        return new Inputs(shape, x, layer.Options.Query is null ? q : null);
    }

    // The inputs in parts of these lengths, from a new state.
    private (float[] Reads, MixerState State) Read(Layer layer, Inputs inputs, IReadOnlyList<int> lengths)
    {
        int batch = inputs.Shape[0], row = layer.Heads * layer.Width, start = 0;
        StatePart[] parts = [.. layer.Memories.State];
        var state = new MixerState(Device, parts, batch);
        float[] all = new float[inputs.X.Length];
        foreach (int length in lengths)
        {
            using var tape = new Tape(Device, recording: false);
            Variable Part(float[] whole) =>
                tape.Input(From([batch, length, layer.Heads, layer.Width], ScanCase.SliceTime(whole, batch, row, start, start + length)));
            (Variable reads, IEnumerable<(string, Tensor)> next) = layer.Memories.Forward(tape, Part(inputs.X),
                inputs.Q is null ? null : Part(inputs.Q), state);
            float[] read = reads.Value.ToArray();
            for (int b = 0; b < batch; b++)
                read.AsSpan(b * length * row, length * row).CopyTo(all.AsSpan((b * inputs.Shape[1] + start) * row));
            MixerState after = state.After(length, next);
            state.Dispose();
            state = after;
            start += length;
        }

        return (all, state);
    }

    private sealed record Inputs(Shape Shape, float[] X, float[]? Q);

    private sealed record Layer(ComposedMemories Memories, SelfModifyingSettings Settings, SelfModifyingOptions Options, int Heads,
        int Width)
    {
        public ReferenceMemoriesCase Case(Inputs inputs)
        {
            var starts = new Queue<Parameter>(Memories.Parameters);
            ReferenceMemory[] memories = [.. Options.Memories.Select(m =>
            {
                bool deep = m.Options.Kind == MemoryKind.Deep, gate = m.Name is "eta" or "alpha";
                double[][] values = [.. Enumerable.Range(0, deep ? 2 : 1).Select(_ => Compare.ToDouble(starts.Dequeue().Value.ToArray()))];
                return new ReferenceMemory(m.Options.Chunk ?? Settings.Chunk, deep ? m.Options.Hidden : 0, Residual: !gate, values);
            })];
            return new ReferenceMemoriesCase(
                inputs.Shape[0], inputs.Shape[1], Heads, Width, Settings, Compare.ToDouble(inputs.X),
                inputs.Q is null ? null : Compare.ToDouble(inputs.Q), memories);
        }
    }
}

public sealed class ManagedComposedMemoriesTests() : ComposedMemoriesTests("managed");

public sealed class CpuComposedMemoriesTests() : ComposedMemoriesTests("cpu");
