using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests;

/// <summary>
/// Every mixer: a sequence fed in any split gives what it gives whole, and its state can be copied, saved, reset and shared.
/// </summary>
public abstract class StreamingTests(string backend) : BackendTests(backend)
{
    private const int Vocabulary = 11;

    // Outputs are of order one after two blocks of float32 sums that a split takes in another order.
    private const double Tolerance = 2e-5;

    // Beside the presets, self-modifying memories in their general form.
    private static readonly (string Name, ModelConfiguration Configuration)[] s_models =
    [
        .. ModelConfiguration.Presets,
        ("hope-general", ModelConfiguration.Hope with
        {
            SelfModifying = new()
            {
                Key = new(MemoryKind.Deep, Chunk: 5, Hidden: 7), Rate = new(MemoryKind.Deep, Hidden: 7),
                    Memory = new(MemoryKind.Deep, Chunk: 12, Hidden: 7), Query = new(Chunk: 3), Read = ScanRead.After,
            },
        }),
    ];

    public static TheoryData<string> Models => [.. s_models.Select(m => m.Name)];

    [Theory]
    [MemberData(nameof(Models))]
    public void AnySplit_GivesTheSameOutputsAndState(string name)
    {
        using SequenceModel model = Model(name);
        const int Time = 45;
        int[] tokens = new TestData(5).Below(Time, Vocabulary);
        using SequenceState start = model.NewState();
        (float[] expected, SequenceState whole) = Run(model, start, tokens);
        using SequenceState expectedState = whole;
        var random = new CounterRandom(6);
        ulong draw = 0;
        for (int split = 0; split < 8; split++)
        {
            var actual = new List<float>();
            SequenceState state = model.NewState();
            for (int first = 0, count; first < Time; first += count)
            {
                // The first split is token by token.
                count = split == 0 ? 1 : Math.Min(Time - first, 1 + random.Below(draw++, 4 * split));
                (float[] logits, SequenceState next) = Run(model, state, tokens[first..(first + count)]);
                actual.AddRange(logits);
                state.Dispose();
                state = next;
            }

            using (state)
            {
                Compare.Close($"{name}, split {split}", actual.ToArray(), expected, Tolerance);
                CloseStates(state, expectedState);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void Batch_EqualsItsSequencesAlone_FromACarriedStateToo(string name)
    {
        using SequenceModel model = Model(name);
        int[] a = new TestData(7).Below(32, Vocabulary), b = new TestData(8).Below(32, Vocabulary);
        float[] Alone(int[] tokens)
        {
            using SequenceState start = model.NewState();
            (float[] first, SequenceState next) = Run(model, start, tokens[..16], recording: true);
            using (next)
            {
                (float[] second, SequenceState last) = Run(model, next, tokens[16..], recording: true);
                last.Dispose();
                return [.. first, .. second];
            }
        }

        float[] one = Alone(a), two = Alone(b);
        using SequenceState both = model.NewState(2);
        (float[] first, SequenceState next) = Run(model, both, [.. a[..16], .. b[..16]], recording: true);
        using (next)
        {
            (float[] second, SequenceState last) = Run(model, next, [.. a[16..], .. b[16..]], recording: true);
            last.Dispose();
            int half = first.Length / 2;
            Compare.Close("first sequence", [.. first[..half], .. second[..half]], one, Tolerance);
            Compare.Close("second sequence", [.. first[half..], .. second[half..]], two, Tolerance);
        }
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void SavedAndLoaded_ContinuesToTheSameBits(string name)
    {
        using SequenceModel model = Model(name);
        int[] tokens = new TestData(9).Below(40, Vocabulary);
        const int Cut = 21;
        using SequenceState start = model.NewState();
        (_, SequenceState middle) = Run(model, start, tokens[..Cut]);
        using (middle)
        {
            var file = new SafetensorsFile();
            middle.Save(file, "s.");
            using SequenceState loaded = SequenceState.Load(model, 1, file, "s."), copy = middle.Clone();
            Assert.Equal(Cut, loaded.ContextPosition);
            (float[] expected, SequenceState a) = Run(model, middle, tokens[Cut..]);
            (float[] fromFile, SequenceState b) = Run(model, loaded, tokens[Cut..]);
            a.Dispose();
            b.Dispose();
            Compare.SameBits("loaded", fromFile, expected);

            // A copy is its own: what happens to the original does not reach it.
            middle.Reset();
            (float[] fromCopy, SequenceState c) = Run(model, copy, tokens[Cut..]);
            c.Dispose();
            Compare.SameBits("copy", fromCopy, expected);
            (float[] again, SequenceState d) = Run(model, middle, tokens[..Cut]);
            (float[] first, SequenceState e) = Run(model, start, tokens[..Cut]);
            d.Dispose();
            e.Dispose();
            Compare.SameBits("reset", again, first);

            foreach (string missing in file.Names)
            {
                var broken = new SafetensorsFile();
                foreach ((string key, string value) in file.Metadata)
                    broken.Metadata[key] = value;
                foreach (string kept in file.Names.Where(n => n != missing && file.HoldsFloats(n)))
                    broken.Add(kept, file.ShapeOf(kept), file.Floats(kept));
                if (missing != "s.context")
                    broken.Add("s.context", [Cut]);
                Assert.Contains($"'{missing}'", Assert.Throws<CheckpointException>(
                    () => SequenceState.Load(model, 1, broken, "s.")).Message, StringComparison.Ordinal);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void ContextEnd_ReturnsTheMemoriesToTheirStart(string name)
    {
        ModelConfiguration small = Small(name) with { ContextLength = 16, Convolution = false };
        using var model = new SequenceModel(Device, small);
        int[] tokens = new TestData(10).Below(16, Vocabulary);
        using SequenceState start = model.NewState();
        (float[] first, SequenceState next) = Run(model, start, tokens);
        using (next)
        {
            Assert.Equal(0, next.ContextPosition);
            (float[] second, SequenceState last) = Run(model, next, tokens);
            last.Dispose();
            Compare.SameBits("second context", second, first);
        }
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void ManyStreams_OnThreads_AreTheSameBitsAsOneAfterAnother(string name)
    {
        using SequenceModel model = Model(name);
        const int Streams = 6;
        int[][] tokens = [.. Enumerable.Range(0, Streams).Select(i => new TestData((ulong)(20 + i)).Below(48, Vocabulary))];
        float[] Stream(int i)
        {
            var all = new List<float>();
            SequenceState state = model.NewState();
            for (int first = 0; first < 48; first += 8)
            {
                (float[] logits, SequenceState next) = Run(model, state, tokens[i][first..(first + 8)]);
                all.AddRange(logits);
                state.Dispose();
                state = next;
            }

            state.Dispose();
            return [.. all];
        }

        float[][] expected = [.. Enumerable.Range(0, Streams).Select(Stream)], actual = new float[Streams][];
        Thread[] threads = [.. Enumerable.Range(0, Streams).Select(i => new Thread(() => actual[i] = Stream(i)))];
        foreach (Thread thread in threads)
            thread.Start();
        foreach (Thread thread in threads)
            thread.Join();
        for (int i = 0; i < Streams; i++)
            Compare.SameBits($"stream {i}", actual[i], expected[i]);
    }

    [Theory]
    [MemberData(nameof(Models))]
    public void FailedCall_LeavesTheStateAsItWas(string name)
    {
        using SequenceModel model = Model(name);
        int[] tokens = new TestData(11).Below(24, Vocabulary);
        using SequenceState start = model.NewState();
        (_, SequenceState state) = Run(model, start, tokens[..16]);
        using (state)
        {
            var before = new SafetensorsFile();
            state.Save(before, "");
            Assert.Throws<ArgumentOutOfRangeException>(() => Run(model, state, [1, Vocabulary]));
            Assert.Throws<ArgumentException>(() => Run(model, state, []));
            var after = new SafetensorsFile();
            state.Save(after, "");
            Assert.Equal(before.Names, after.Names);
            foreach (string tensor in before.Names.Where(before.HoldsFloats))
                Compare.SameBits(tensor, after.Floats(tensor), before.Floats(tensor));
        }
    }

    internal static ModelConfiguration Small(string name) => s_models.Single(m => m.Name == name).Configuration with
    {
        Vocabulary = Vocabulary,
        Dim = 12,
        Heads = 2,
        MemoryChunk = 8,
        AttentionSegment = 8,
        PersistentTokens = 3,
        ContextLength = 0,
        AlphaBias = 2,
        EtaScale = 0.3f,
        ProjectionLevel = 0,
        Levels = [new("only", 16, 1e-3f, 10)],
    };

    private SequenceModel Model(string name) => new(Device, Small(name));

    private static (float[] Logits, SequenceState Next) Run(SequenceModel model, SequenceState state, int[] tokens, bool recording = false)
    {
        using IndexTensor input = model.Device.FromIndices([state.Batch, tokens.Length / state.Batch], tokens);
        using var tape = new Tape(model.Device, recording);
        (Variable logits, SequenceState next) = model.Forward(tape, input, state);
        return (logits.Value.ToArray(), next);
    }

    private static void CloseStates(SequenceState actual, SequenceState expected)
    {
        SafetensorsFile a = new(), e = new();
        actual.Save(a, "");
        expected.Save(e, "");
        Assert.Equal(e.Names, a.Names);
        Assert.Equal(e.Integers("context", 1).ToArray(), a.Integers("context", 1).ToArray());
        foreach (string name in e.Names.Where(e.HoldsFloats))
            Compare.Close(name, a.Floats(name, e.ShapeOf(name)), e.Floats(name), Tolerance);
    }
}

public sealed class ManagedStreamingTests() : StreamingTests("managed");

public sealed class CpuStreamingTests() : StreamingTests("cpu");
