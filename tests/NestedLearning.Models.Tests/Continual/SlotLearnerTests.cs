using NestedLearning.Models.Continual;
using NestedLearning.Models.Learning;
using NestedLearning.Testing;
using Xunit;
using static NestedLearning.Models.Tests.Streams;

namespace NestedLearning.Models.Tests.Continual;

public abstract class SlotLearnerTests(string backend) : BackendTests(backend)
{
    private static readonly ModelConfiguration s_small = new()
    {
        Dim = 16, Heads = 2, Blocks = 1, MemoryChunk = 8, ContextLength = 64, WarmupCommits = 4, ProjectionLevel = 0,
        Levels = [new("only", 16, 5e-3f, 24)],
    };

    private static readonly SlotSettings s_settings = new()
    {
        Slots = 2, Period = 160, Share = 0.01, TextBytes = 100, ProbePeriod = 128, ProbeBytes = 32, SleepBelow = 0.1,
    };

    [Fact]
    public void Losses_MatchAMixtureOfSeparateLearners()
    {
        SlotSettings settings = s_settings with { ProbePeriod = 0 };
        byte[] text = [.. Source(1, 480), .. Source(2, 480), .. Source(1, 320)];
        using SlotLearner learner = Create(settings);
        float[] actual = Read(learner, text);

        // Members side by side, each a learner of its own, as the equations say.
        using StreamLearner live = StreamLearner.Create(Device, s_small, "live");
        List<IStreamLearner> slots = [];
        List<byte[]> texts = [];
        List<long> commits = [];
        List<double> w = [1];
        double[] expected = new double[text.Length];
        for (int p = 0; p < text.Length; p += 16)
        {
            float[][] losses = [.. ((IEnumerable<IStreamLearner>)[live, .. slots]).Select(m => Read(m, text[p..(p + 16)]))];
            for (int t = 0; t < 16; t++)
            {
                double[] joint = [.. w.Select((e, i) => e * Math.Exp(-losses[i][t]))];
                double z = joint.Sum();
                expected[p + t] = -Math.Log(z);
                w = [.. joint.Select(j => (1 - settings.Share) * j / z + settings.Share / w.Count)];
            }

            // A commit is made when the next byte comes.
            if ((p + 16) % settings.Period != 0 || p + 16 == text.Length)
                continue;
            slots.Add(live.Fork("slot"));
            slots[^1].Learns = false;
            texts.Add(text[(p + 16 - settings.TextBytes)..(p + 16)]);
            commits.Add(p + 16);
            w = [w[0] / 2, .. w.Skip(1), w[0] / 2];
            if (slots.Count <= settings.Slots)
                continue;
            int gone = Enumerable.Range(0, slots.Count).MinBy(i =>
                Enumerable.Range(0, slots.Count).Where(j => j != i).Min(j => slots[j].Evaluate(texts[i])) - slots[i].Evaluate(texts[i]));
            w[0] += w[gone + 1];
            w.RemoveAt(gone + 1);
            slots[gone].Dispose();
            slots.RemoveAt(gone);
            texts.RemoveAt(gone);
            commits.RemoveAt(gone);
        }

        slots.ForEach(s => s.Dispose());
        // Losses of order one from float32 members of the same bits; the mixture is rounded to float32 once.
        Compare.Close("losses", actual, expected, 1e-6);
        Assert.Equal(commits, learner.SlotCommits);
        for (int i = 0; i < w.Count; i++)
            Assert.Equal(w[i], learner.Weights[i], 1e-6);
    }

    [Fact]
    public void WithoutSlots_ItIsTheLiveLearner()
    {
        byte[] text = Source(1, 400);
        using SlotLearner learner = Create(s_settings with { Slots = 0 });
        using StreamLearner alone = StreamLearner.Create(Device, s_small, "alone");
        Compare.SameBits("losses", Read(learner, text), Read(alone, text));
        Assert.Equal(alone.Evaluate(text), learner.Evaluate(text), 1e-7);
        Assert.Empty(learner.SlotCommits);
        Assert.Equal(alone.ParameterCount, learner.ParameterCount);
    }

    [Fact]
    public void Checkpoint_ContinuesToTheSameBits()
    {
        byte[] text = [.. Source(1, 500), .. Source(2, 500), .. Source(1, 500)];
        // Inside a segment, a context, a probe and the levels' periods, where a commit is due, and where slots have just woken.
        foreach (int cut in (int[])[5, 320, 333, 777, 1111, 1152])
        {
            using SlotLearner first = Create(s_settings), second = Create(s_settings);
            Read(first, text[..cut]);
            var file = new SafetensorsFile();
            first.Save(file, "x.");
            Read(second, text[..100]);
            second.Load(file, "x.");
            using SlotLearner third = SlotLearner.Load(Device, file, "x.", "third");
            float[] expected = Read(first, text[cut..]);
            foreach (SlotLearner other in (SlotLearner[])[second, third])
            {
                Compare.SameBits($"losses after {cut}", Read(other, text[cut..]), expected);
                Assert.Equal(first.Timeline.Commits, other.Timeline.Commits);
                Assert.Equal(first.Weights, other.Weights);
                Assert.Equal(first.SlotCommits, other.SlotCommits);
            }
        }
    }

    [Fact]
    public void Load_ThatDoesNotFit_ChangesNothing()
    {
        using SlotLearner learner = Create(s_settings);
        byte[] text = [.. Source(1, 400), .. Source(2, 100)];
        Read(learner, text[..400]);
        var before = new SafetensorsFile();
        learner.Save(before, "");
        using IStreamLearner twin = learner.Fork("twin");
        foreach (string missing in before.Names)
        {
            var file = new SafetensorsFile();
            foreach ((string key, string value) in before.Metadata)
                file.Metadata[key] = value;
            foreach (string name in before.Names.Where(n => n != missing))
            {
                if (before.HoldsFloats(name))
                    file.Add(name, before.ShapeOf(name), new float[before.ShapeOf(name).ElementCount]);
                else
                    file.Add(name, before.Integers(name, before.ShapeOf(name).ElementCount));
            }

            Assert.Contains($"'{missing}'", Assert.Throws<CheckpointException>(() => learner.Load(file, "")).Message,
                StringComparison.Ordinal);
        }

        Compare.SameBits("losses", Read(learner, text[400..]), Read(twin, text[400..]));
    }

    [Fact]
    public void AnotherSetting_IsRefusedByItsName_UnlessThatIsAllowed()
    {
        using SlotLearner learner = Create(s_settings);
        Read(learner, Source(1, 400));
        var file = new SafetensorsFile();
        learner.Save(file, "");
        using SlotLearner other = Create(s_settings with { Slots = 1, TextBytes = 50, Period = 80 });
        CheckpointException e = Assert.Throws<CheckpointException>(() => other.Load(file, "", ["Slots", "text_bytes"]));
        Assert.Contains("Period is 160 in the file and 80 here", e.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => other.Load(file, "", ["Slots", "TextBytes", "Period", "Slot"]));
        Assert.Equal(0, other.Position);
        other.Load(file, "", ["Slots", "text_bytes", "PERIOD"]);
        Assert.Equal(400, other.Position);
        Assert.Single(other.SlotCommits);
        Read(other, Source(1, 200));
    }

    [Fact]
    public void EvaluationAndForks_ChangeNothing()
    {
        byte[] text = Source(1, 700);
        using SlotLearner learner = Create(s_settings);
        Read(learner, text[..500]);
        using IStreamLearner twin = learner.Fork("twin"), fork = learner.Fork("fork");
        Assert.Empty(fork.Timeline.Commits);
        double before = learner.Evaluate(text.AsSpan(0, 150));
        Assert.Equal(before, fork.Evaluate(text.AsSpan(0, 150)));
        Read(fork, Source(2, 300));
        Compare.SameBits("losses", Read(learner, text[500..]), Read(twin, text[500..]));
    }

    [Fact]
    public void Eviction_KeepsTheDistinct()
    {
        // Five commits in each of three sources: of each one slot is left.
        using SlotLearner learner = Create(s_settings with { Slots = 3, Period = 240, TextBytes = 200 });
        int length = 5 * 240;
        foreach (byte source in (byte[])[1, 2, 3])
            Read(learner, Pattern(source, length));
        Assert.Equal([0, 1, 2], learner.SlotCommits.Select(c => (int)((c - 1) / length)));
    }

    [Fact]
    public void SlotsWithoutWeight_Sleep_AndWakeAtAProbe()
    {
        using SlotLearner learner = Create(s_settings with { Slots = 1, Period = 1280 });
        Read(learner, Pattern(1, 1280));
        Assert.Empty(learner.SlotCommits);
        // Something else is read until the slot knows nothing of it.
        Read(learner, Pattern(2, 1024));
        Read(learner, Pattern(2, 64));
        Assert.Equal(0, learner.SlotsAwake);
        Assert.Equal(2432 - 64, learner.Position);
        Read(learner, Pattern(1, 64));
        Assert.Equal(1, learner.SlotsAwake);
        Read(learner, Pattern(1, 64));
        Assert.Equal(1, learner.SlotsAwake);
        Assert.True(learner.Weights[1] > 0.5, $"The slot's weight is {learner.Weights[1]}.");
    }

    [Fact]
    public void Frozen_NeverCommits_AndFollowsTheBestMember()
    {
        using SlotLearner learner = Create(s_settings);
        Read(learner, Source(1, 500));
        learner.Learns = false;
        int commits = learner.Timeline.Commits.Count;
        double[] weights = [.. learner.Weights];
        double before = learner.Evaluate(Source(2, 60));
        Read(learner, Source(1, 500));
        Assert.Equal(before, learner.Evaluate(Source(2, 60)));
        Assert.Equal(commits, learner.Timeline.Commits.Count);
        Assert.NotEqual(weights, learner.Weights);
    }

    [Fact]
    public void Timeline_HasTheCommitsOfSlots()
    {
        using SlotLearner learner = Create(s_settings);
        Read(learner, Source(1, 500));
        Assert.Equal(["only", "slots"], learner.LevelNames);
        LevelCommit[] slots = [.. learner.Timeline.Commits.Where(c => c.Level == 1)];
        Assert.Equal([160, 320, 480], slots.Select(c => c.Step));
        Assert.Equal(0, slots[0].Norm);
        Assert.All(slots, c => Assert.True(c.Change > 0));
        Assert.All(slots[1..], c => Assert.True(c.Norm > c.Change));
        Assert.Equal(500 / 16, learner.Timeline.Commits.Count(c => c.Level == 0));
    }

    [Fact]
    public void Description_HasTheSlotsAsTheSlowestLevel()
    {
        using SlotLearner learner = Create(s_settings);
        Read(learner, Source(1, 500));
        ModelDescription description = learner.Describe();
        MemoryDescription slots = description.Memories[^1];
        Assert.Equal(("slots", 160L, 1.0, learner.ParameterCount * 2 / 3), (slots.Name, slots.Period, slots.Frequency, slots.Parameters));
        Assert.Equal(4 * slots.Parameters + 2 * 100, slots.Bytes);
        Assert.Equal(10, description.Memories.Single(m => m.Name == "level only").Frequency);
        Assert.Equal(160, description.Memories.Single(m => m.Name == "mixture").Frequency);
        Assert.Equal(learner.ParameterCount, description.Parameters);
    }

    [Theory]
    [InlineData("levels.value.final_norm")]
    [InlineData("slots.0.value.final_norm")]
    public void AWeightThatIsNotANumber_StopsTheStreamAsItWas(string weight)
    {
        using SlotLearner learner = Create(s_settings with { ProbePeriod = 0 });
        byte[] text = Source(1, 400);
        Read(learner, text[..320]);
        SafetensorsFile file = new(), broken = new(), before = new(), after = new();
        learner.Save(file, "");
        foreach ((string key, string value) in file.Metadata)
            broken.Metadata[key] = value;
        foreach (string name in file.Names)
        {
            if (!file.HoldsFloats(name))
            {
                broken.Add(name, file.Integers(name, file.ShapeOf(name).ElementCount));
                continue;
            }

            float[] values = file.Floats(name).ToArray();
            if (name == weight)
                values[0] = float.NaN;
            broken.Add(name, file.ShapeOf(name), values);
        }

        learner.Load(broken, "");
        learner.Save(before, "");
        Assert.Throws<NotFiniteNumberException>(() => Read(learner, text[320..336]));
        learner.Save(after, "");
        Assert.Equal(before.Names, after.Names);
        foreach (string name in before.Names)
        {
            if (before.HoldsFloats(name))
                Compare.SameBits(name, after.Floats(name), before.Floats(name));
            else
                Assert.Equal(before.Integers(name, before.ShapeOf(name).ElementCount).ToArray(),
                    after.Integers(name, after.ShapeOf(name).ElementCount).ToArray());
        }

        learner.Load(file, "");
        Read(learner, text[320..]);
        Assert.Equal(400, learner.Position);
    }

    [Fact]
    public void Threads_DoNotChangeBits() => SameBitsForAnyThreads(() =>
    {
        using SlotLearner learner = SlotLearner.Create(Device, s_small with { Dim = 64, Levels = [new("only", 64, 5e-3f, 128)] },
            s_settings with { ProbeBytes = 64 }, "slots");
        return [("losses", Read(learner, Source(1, 512)))];
    });

    [Fact]
    public void Arguments_AreChecked()
    {
        using SlotLearner learner = Create(s_settings);
        Assert.Throws<ArgumentException>(() => learner.Read([], []));
        Assert.Throws<ArgumentException>(() => learner.Read(new byte[17], new float[17]));
        Assert.Throws<ArgumentException>(() => learner.Read(new byte[4], new float[3]));
        Assert.Throws<ArgumentException>(() => learner.Evaluate([]));
        foreach ((SlotSettings settings, string message) in ((SlotSettings, string)[])
            [
                (new() { Slots = -1 }, "Slots is -1, expected 0 to 64"), (new() { Slots = 65 }, "Slots is 65"),
                (new() { Period = 0 }, "Period is 0, expected at least 1"), (new() { Share = 0 }, "Share is 0, expected above 0"),
                (new() { Share = double.NaN }, "Share is NaN"), (new() { Share = 1.5 }, "Share is 1.5"),
                (new() { TextBytes = 0 }, "TextBytes is 0, expected at least 1"), (new() { ProbePeriod = -1 }, "ProbePeriod is -1"),
                (new() { ProbeBytes = 0 }, "ProbeBytes is 0, expected at least 1"),
                (new() { ProbeBytes = 100 }, "ProbeBytes is 100, expected a divisor of ProbePeriod = 1024"),
                (new() { SleepBelow = -0.5 }, "SleepBelow is -0.5, expected 0 to 1"),
                (new() { SleepBelow = double.NaN }, "SleepBelow is NaN"),
            ])
            Assert.StartsWith(message, Assert.Throws<ArgumentException>(() => Create(settings)).Message, StringComparison.Ordinal);
    }

    // Learned in a few hundred bytes, and nothing of one helps with another.
    private static byte[] Pattern(byte source, int length) =>
        [.. Enumerable.Range(0, length).Select(i => (byte)(16 * source + i * source % 7))];

    private SlotLearner Create(SlotSettings settings) => SlotLearner.Create(Device, s_small, settings, "slots");
}

public sealed class ManagedSlotLearnerTests() : SlotLearnerTests("managed");

public sealed class CpuSlotLearnerTests() : SlotLearnerTests("cpu");
