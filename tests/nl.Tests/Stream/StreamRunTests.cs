using NestedLearning.CommandLine.Tests;
using Xunit;

namespace NestedLearning.CommandLine.Streaming.Tests;

public sealed class StreamRunTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly PhasePlan _plan = Texts.Plan();

    private string Checkpoint => _folder.File("run/stream.safetensors");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Learners_LearnAndForgetAsFarAsTheyLearn()
    {
        StreamReport report = Complete(new ByteCountFactory());

        LearnerReport hope = report.Learners[0], frozen = report.Learners[2];
        Assert.All(report.Learners, l => Assert.Equal(3, l.Phases.Count));
        Assert.True(hope.Phases[0].FinalLevel < hope.Phases[0].Loss);
        // The frozen learner never learns figures, so it keeps its letters; Hope learns them and pays with letters.
        Assert.True(hope.Phases[1].Loss < frozen.Phases[1].Loss - 1);
        Assert.All(frozen.Retention, r => Assert.True(r.Phase == 1 || r.Before == r.After));
        Assert.True(hope.HeldOutLoss[1][0] > hope.HeldOutLoss[0][0]);
        Assert.Equal(hope.HeldOutLoss[0][0], hope.Retention[0].Before);
        Assert.Equal(hope.HeldOutLoss[2][0], hope.Retention[0].After);
    }

    [Fact]
    public void FrozenLearner_IsHopeUntilTheFirstPhaseEnds()
    {
        using var run = new StreamRun(_plan, new ByteCountFactory(), LearnerKinds.All, null, 0);
        run.Begin();
        Assert.True(run.Run(CancellationToken.None));

        LearnerTrack hope = run.Tracks[0], frozen = run.Tracks[2];
        Assert.Equal(_plan.Phases[0].End, frozen.Inherited);
        Assert.Equal(hope.Losses.Take(_plan.Phases[0].Blocks), frozen.Losses.Take(_plan.Phases[0].Blocks));
        Assert.NotEqual(hope.Losses[^2], frozen.Losses[^2]);
        Assert.All(frozen.Commits, c => Assert.True(c.Step <= _plan.Phases[0].End));
        Assert.Equal(hope.Commits.TakeWhile(c => c.Step <= _plan.Phases[0].End), frozen.Commits);
        Assert.True(hope.Commits.Count > 2 * frozen.Commits.Count);
    }

    [Fact]
    public void FrozenLearner_IsTheSameWithoutHopeBesideIt()
    {
        LearnerReport beside = Complete(new ByteCountFactory()).Learners[2];
        LearnerReport alone = Complete(new ByteCountFactory(), [LearnerKind.Frozen]).Learners[0];
        Assert.Equal(beside.LossOfBlock, alone.LossOfBlock);
        Assert.Equal(beside.HeldOutLoss, alone.HeldOutLoss);
        Assert.Equal(beside.Levels.Select(l => l.Commits), alone.Levels.Select(l => l.Commits));
        Assert.True(beside.Phases[0].Inherited);
        Assert.False(alone.Phases[0].Inherited);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(16)]
    public void Result_DoesNotDependOnHowManyRunAtOnce(int atOnce) =>
        Assert.Equal(Text(Complete(new ByteCountFactory())), Text(Complete(new ByteCountFactory { AtOnce = atOnce })));

    [Fact]
    public void LastLearner_GetsTheThreadsThatAreFree()
    {
        ByteCountFactory factory = null!;
        factory = new ByteCountFactory
        {
            AtOnce = 2,
            Made = (kind, learner) =>
            {
                // One level is kept from its last bytes until Hope has ended.
                if (kind == LearnerKind.OneLevel)
                    learner.Reading = at =>
                        Assert.True(at < _plan.Length - 200
                        || SpinWait.SpinUntil(() => factory.Sharing.Contains(1), TimeSpan.FromSeconds(30)));
            },
        };
        Complete(factory, [LearnerKind.Hope, LearnerKind.OneLevel]);
        Assert.Equal([2, 1], factory.Sharing);
    }

    [Fact]
    public void LearnersThatCompute_ShareTheThreads()
    {
        Device device = Device.Open("managed");
        device.Threads = 7;
        using var factory = new LearnerFactory(device, seed: 1, learners: 3);
        Assert.Equal(3, factory.AtOnce);
        Assert.Equal(2, device.Threads);
        factory.ShareThreads(2);
        Assert.Equal(3, device.Threads);
        factory.ShareThreads(1);
        Assert.Equal(7, device.Threads);
    }

    [Fact]
    public void ThreadsOfALearner_DoNotChangeBits()
    {
        // Real learners: with one thread each all the time, and with as many as are free, which changes on the way.
        PhasePlan plan = Texts.Plan(bytes: PhasePlan.LeastText);
        string[] runs = Array.ConvertAll(new[] { 1, 2, 5 }, threads =>
        {
            Device device = Device.Open();
            device.Threads = threads;
            using var factory = new LearnerFactory(device, seed: 1, learners: 3);
            using var run = new StreamRun(plan, factory, LearnerKinds.All, null, 0);
            run.Begin();
            Assert.True(run.Run(CancellationToken.None));
            return string.Join(' ', run.Tracks.SelectMany(t => t.Losses)
                .Concat(run.Tracks.SelectMany(t => t.Commits).SelectMany(c => new[] { c.Change, c.Norm }))
                .Select(BitConverter.DoubleToInt64Bits));
        });
        Assert.Equal(runs[0], runs[1]);
        Assert.Equal(runs[0], runs[2]);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(1, 96)]
    [InlineData(1, 5000)]
    [InlineData(1, 5905)]
    [InlineData(1, 6000)]
    [InlineData(1, 12_777)]
    [InlineData(1, 18_600)]
    [InlineData(3, 3000)]
    [InlineData(3, 6000)]
    [InlineData(3, 15_000)]
    public void InterruptedAndResumed_IsAsUninterrupted(int atOnce, long position)
    {
        using StreamRun whole = Start(new ByteCountFactory { AtOnce = atOnce });
        Assert.True(whole.Run(CancellationToken.None));

        using (StreamRun first = Start(StoppingAt(LearnerKind.Hope, position, atOnce, out CancellationTokenSource stop)))
        {
            using (stop)
                Assert.False(first.Run(stop.Token));
            Assert.InRange(first.Tracks[0].Position, position, position + 192);
        }

        using var second = new StreamRun(_plan, new ByteCountFactory { AtOnce = atOnce }, LearnerKinds.All, Checkpoint, 0);
        second.Resume();
        Assert.True(second.Run(CancellationToken.None));

        AssertSame(whole, second);
    }

    [Fact]
    public void InterruptedManyTimes_IsAsUninterrupted()
    {
        using StreamRun whole = Start(new ByteCountFactory());
        Assert.True(whole.Run(CancellationToken.None));

        StreamRun? run = null;
        for (long position = 0; run?.Finished != true; position += 1733)
        {
            using StreamRun? before = run;
            ByteCountFactory factory = StoppingAt(LearnerKind.OneLevel, position, 1, out CancellationTokenSource stop);
            run = new StreamRun(_plan, factory, LearnerKinds.All, Checkpoint, 0);
            if (before is null)
                run.Begin();
            else
                run.Resume();
            using (stop)
                run.Run(stop.Token);
        }

        AssertSame(whole, run);
        run.Dispose();
    }

    [Fact]
    public void FinishedRun_CanBeResumedToItsResult()
    {
        StreamReport report = Complete(new ByteCountFactory());
        using var run = new StreamRun(_plan, new ByteCountFactory(), LearnerKinds.All, Checkpoint, 0);
        run.Resume();
        Assert.True(run.Finished);
        Assert.True(run.Run(CancellationToken.None));
        Assert.Equal(Text(report), Text(Report(run)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void CheckpointOnTheWay_SurvivesACrash(int atOnce)
    {
        using StreamRun whole = Start(new ByteCountFactory());
        whole.Run(CancellationToken.None);
        File.Delete(Checkpoint);

        var crashing = new ByteCountFactory
        {
            AtOnce = atOnce,
            Made = (kind, learner) => learner.Reading = at =>
            {
                if (kind == LearnerKind.Hope && at >= 9000)
                    throw new InvalidOperationException("crash");
            },
        };
        using (StreamRun run = Start(crashing, checkpointEvery: 2000))
            Assert.Equal("crash", Assert.Throws<InvalidOperationException>(() => run.Run(CancellationToken.None)).Message);

        using var resumed = new StreamRun(_plan, new ByteCountFactory { AtOnce = atOnce }, LearnerKinds.All, Checkpoint, 2000);
        resumed.Resume();
        // The last segment that was read began before 9000; another learner's checkpoint may come right after it.
        Assert.InRange(resumed.Tracks[0].Position, 1, 8999 + ByteCountLearner.Segment);
        Assert.True(resumed.Tracks.Max(t => t.Position) >= 8000);
        Assert.True(resumed.Run(CancellationToken.None));
        AssertSame(whole, resumed);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void LossThatIsNotFinite_StopsTheRun_AndKeepsTheCheckpoint(int atOnce)
    {
        byte[] before = InterruptAt(3000);
        using var run = new StreamRun(_plan, Failing(l => l.LossesFailAt = 7001, atOnce), LearnerKinds.All, Checkpoint, 0);
        run.Resume();

        var e = Assert.Throws<DivergenceException>(() => run.Run(CancellationToken.None));
        Assert.Contains("one level: the loss is NaN at byte 7,001 of the stream (phase 2, figures)", e.Message, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(Checkpoint));
    }

    [Fact]
    public void WeightThatIsNotFinite_IsNotSaved()
    {
        byte[] before = InterruptAt(3000);
        using var run = new StreamRun(_plan, Failing(l => l.WeightsFailAt = 15_000), LearnerKinds.All, Checkpoint, 0);
        run.Resume();

        var e = Assert.Throws<DivergenceException>(() => run.Run(CancellationToken.None));
        Assert.Contains("one level: spare is no longer finite", e.Message, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(Checkpoint));
    }

    [Fact]
    public void Checkpoint_OfAnotherRunIsRefused()
    {
        InterruptAt(3000);
        AssertRefused("learners", kinds: [LearnerKind.Hope]);
        AssertRefused("device", factory: new ByteCountFactory { DeviceName = "other" });
        AssertRefused("configuration", factory: new ByteCountFactory { Configuration = """{"Chunk":81}""" });
        AssertRefused("its seed is 1, this run's is 2", factory: new ByteCountFactory { Seed = 2 });
        AssertRefused("text of phase 1", plan: Texts.Plan(seed: 2));
        AssertRefused("number of phases", plan: PhasePlan.Create([new PhaseText("a", "", Texts.Words("abc", 9000, 1))], 8192));
    }

    [Fact]
    public void Checkpoint_ThatCannotBeUsed_IsAnErrorThatNamesIt()
    {
        AssertRefused("no checkpoint");

        byte[] good = InterruptAt(3000);
        File.WriteAllBytes(Checkpoint, good[..(good.Length / 2)]);
        AssertRefused("cannot be read");

        new SafetensorsFile().Save(Checkpoint);
        AssertRefused("not a checkpoint of nl stream");

        // The learner's own part is damaged in a way that only the learner can see.
        File.WriteAllBytes(Checkpoint, good);
        SafetensorsFile file = SafetensorsFile.Load(Checkpoint), other = new();
        foreach ((string name, string value) in file.Metadata.Where(m => m.Key.StartsWith("stream.", StringComparison.Ordinal)))
            other.Metadata[name] = value;
        foreach (string name in file.Names.Where(n => n != "hope.model.pairs"))
        {
            if (file.HoldsFloats(name))
                other.Add(name, file.ShapeOf(name), file.Floats(name));
            else
                other.Add(name, file.Integers(name, file.ShapeOf(name)[0]));
        }

        other.Save(Checkpoint);
        AssertRefused("hope.model.pairs");
    }

    [Fact]
    public void CheckpointThatCannotBeWritten_IsAnErrorThatNamesIt()
    {
        string blocked = Path.Combine(_folder.Write("file", "text"), "stream.safetensors");
        using var run = new StreamRun(_plan, new ByteCountFactory(), LearnerKinds.All, blocked, 2000);
        run.Begin();
        Assert.Contains(blocked, Assert.Throws<StreamException>(() => run.Run(CancellationToken.None)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void RunStoppedBeforeItBegins_LeavesTheCheckpoint()
    {
        byte[] before = InterruptAt(3000);
        using StreamRun run = Start(new ByteCountFactory());
        Assert.False(run.Run(new CancellationToken(canceled: true)));
        Assert.Equal(before, File.ReadAllBytes(Checkpoint));
    }

    [Fact]
    public void Learners_AreDisposedWithTheRun()
    {
        var factory = new ByteCountFactory();
        using (StreamRun run = Start(factory))
            run.Run(CancellationToken.None);
        // The frozen one is a copy.
        Assert.Equal(LearnerKinds.All.Count - 1, factory.Learners.Count);
        Assert.All(factory.Learners, l => Assert.True(l.Disposed));
    }

    private static ByteCountFactory StoppingAt(LearnerKind kind, long position, int atOnce, out CancellationTokenSource stop)
    {
        var source = new CancellationTokenSource();
        stop = source;
        return new ByteCountFactory
        {
            AtOnce = atOnce,
            Made = (k, learner) => learner.Reading = at =>
            {
                if (k == kind && at >= position)
                    source.Cancel();
            },
        };
    }

    private static ByteCountFactory Failing(Action<ByteCountLearner> fail, int atOnce = 1) => new()
    {
        AtOnce = atOnce,
        Made = (kind, learner) =>
        {
            if (kind == LearnerKind.OneLevel)
                fail(learner);
        },
    };

    private static StreamReport Report(StreamRun run) => StreamReport.Create(run, new ByteCountFactory(), 0);

    // Everything but times.
    private static string Text(StreamReport report) =>
        (report with { WallSeconds = 0, Learners = [.. report.Learners.Select(l => l with { Seconds = 0, TokensPerSecond = 0 })] })
        .ToJson();

    private static void AssertSame(StreamRun expected, StreamRun actual)
    {
        foreach ((LearnerTrack e, LearnerTrack a) in expected.Tracks.Zip(actual.Tracks))
        {
            Assert.Equal(e.Losses, a.Losses);
            Assert.Equal(e.Commits, a.Commits);
        }

        Assert.Equal(Text(Report(expected)), Text(Report(actual)));
    }

    private StreamRun Start(ByteCountFactory factory, IReadOnlyList<LearnerKind>? kinds = null, long checkpointEvery = 0)
    {
        var run = new StreamRun(_plan, factory, kinds ?? LearnerKinds.All, Checkpoint, checkpointEvery);
        run.Begin();
        return run;
    }

    private StreamReport Complete(ByteCountFactory factory, IReadOnlyList<LearnerKind>? kinds = null)
    {
        using StreamRun run = Start(factory, kinds);
        Assert.True(run.Run(CancellationToken.None));
        Assert.Equal(run.BytesToRead, run.BytesRead);
        return Report(run);
    }

    private byte[] InterruptAt(long position)
    {
        using StreamRun run = Start(StoppingAt(LearnerKind.Hope, position, 1, out CancellationTokenSource stop));
        using (stop)
            Assert.False(run.Run(stop.Token));
        return File.ReadAllBytes(Checkpoint);
    }

    private void AssertRefused(string reason, PhasePlan? plan = null, ByteCountFactory? factory = null,
        IReadOnlyList<LearnerKind>? kinds = null)
    {
        using var run = new StreamRun(plan ?? _plan, factory ?? new ByteCountFactory(), kinds ?? LearnerKinds.All, Checkpoint, 0);
        var e = Assert.Throws<StreamException>(run.Resume);
        Assert.Contains(reason, e.Message, StringComparison.Ordinal);
        Assert.Contains(Checkpoint, e.Message, StringComparison.Ordinal);
    }
}
