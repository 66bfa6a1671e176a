using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public sealed class LevelSystemTests : IDisposable
{
    private readonly Device _device = Device.Open("managed");

    [Fact]
    public void Commit_IsTheSumOfAChunksErrorTerms()
    {
        // NL 71 by hand: θ_{i+1} = θ_i − Σ η_t e_t where 3 divides i.
        using LevelSystem levels = New(("a", 3, 1));
        Parameter p = levels.Levels[0].Parameters[0];
        float[] seen = new float[7];
        for (int t = 0; t < 7; t++)
        {
            using Tensor error = _device.Full([2], t + 1);
            p.AddError(error, 0.5f);
            levels.Advance(1);
            seen[t] = p.Value.ToArray()[0];
        }

        Assert.Equal([1f, 1, -2, -2, -2, -9.5f, -9.5f], seen);
    }

    [Theory]
    [MemberData(nameof(OptimizerCase.Names), MemberType = typeof(OptimizerCase))]
    public void EveryRule_CommitsTheSumOfAChunk_AndNothingInBetween(string name)
    {
        Optimizer optimizer = OptimizerCase.Find(name).Optimizer;
        const float Rate = 0.05f;
        var data = new TestData(8);
        float[] start = data.Normal(12);
        using Parameter alone = new("w", _device.From([3, 4], start)), committed = new("w", _device.From([3, 4], start));
        using OptimizerMemory memory = optimizer.CreateMemory(alone);
        using var levels = new LevelSystem(new Level("a", 3, Rate, optimizer, [committed]));
        for (int t = 1; t <= 11; t++)
        {
            float[] before = committed.Value.ToArray();
            using Tensor error = _device.From([3, 4], data.Normal(12));
            alone.AddError(error);
            committed.AddError(error);
            levels.Advance(1);
            if (t % 3 != 0)
            {
                Compare.SameBits($"w at step {t}", committed.Value.ToArray(), before);
                continue;
            }

            memory.Commit(alone, Rate, 1);
            alone.ClearError();
            Assert.NotEqual(before, committed.Value.ToArray());
            Compare.Close($"w at step {t}", committed.Value, alone.Value.ToArray(), 1e-6);
        }
    }

    [Fact]
    public void Levels_CommitAtTheirOwnFrequencies()
    {
        using LevelSystem levels = New(("a", 2, 1), ("b", 4, 1), ("c", 3, 1));
        levels.RecordsTimeline = true;
        for (int t = 0; t < 12; t++)
        {
            AddOnes(levels);
            levels.Advance(1);
        }

        Assert.Equal([6L, 3, 4], levels.Levels.Select(l => l.Commits));
        Assert.Equal([2L, 4, 6, 8, 10, 12], levels.Timeline.Commits.Where(c => c.Level == 0).Select(c => c.Step));
        Assert.Equal([4L, 8, 12], levels.Timeline.Commits.Where(c => c.Level == 1).Select(c => c.Step));
        Assert.Equal([3L, 6, 9, 12], levels.Timeline.Commits.Where(c => c.Level == 2).Select(c => c.Step));
        LevelCommit first = levels.Timeline.Commits[0];
        Assert.Equal(2 * Math.Sqrt(2), first.Change, 12);
        Assert.Equal(Math.Sqrt(2), first.Norm, 12);
    }

    [Fact]
    public void WhereNothingCommits_NothingIsWritten()
    {
        using LevelSystem levels = New(("a", 2, 1), ("b", 8, 1));
        float[] before = levels.Levels[1].Parameters[0].Value.ToArray();
        for (int t = 0; t < 6; t++)
        {
            AddOnes(levels);
            levels.Advance(1);
        }

        Assert.Equal(before, levels.Levels[1].Parameters[0].Value.ToArray());
        Assert.Equal([6f, 6], levels.Levels[1].Parameters[0].Error.ToArray());
        Assert.Equal(6, levels.Levels[1].Pending);
    }

    [Fact]
    public void Advance_RefusesStepsPastACommit()
    {
        using LevelSystem levels = New(("a", 4, 1), ("b", 6, 1));
        levels.Advance(3);
        Assert.Equal(1, levels.StepsToNextCommit);
        Assert.Throws<ArgumentOutOfRangeException>(() => levels.Advance(2));
        Assert.Throws<ArgumentOutOfRangeException>(() => levels.Advance(0));
        Assert.Equal(3, levels.Step);
        levels.Advance(1);
        Assert.Equal(2, levels.StepsToNextCommit);
    }

    [Fact]
    public void MeanReduction_DividesByTheStepsThatContributed()
    {
        using LevelSystem levels = New(("a", 4, 1, ErrorReduction.Mean));
        for (int t = 0; t < 4; t++)
        {
            AddOnes(levels);
            levels.Advance(1);
        }

        Assert.Equal([0f, 0], levels.Levels[0].Parameters[0].Value.ToArray());
    }

    [Fact]
    public void Flush_CommitsAPartialChunkAndKeepsTheClock()
    {
        using LevelSystem levels = New(("a", 4, 1, ErrorReduction.Mean));
        AddOnes(levels);
        levels.Advance(1);
        Assert.Equal(1, levels.Flush());
        Assert.Equal([0f, 0], levels.Levels[0].Parameters[0].Value.ToArray());
        Assert.Equal(0, levels.Flush());
        Assert.Equal(3, levels.StepsToNextCommit);
        AddOnes(levels);
        levels.Advance(3);
        Assert.Equal(2, levels.Levels[0].Commits);
    }

    [Fact]
    public void Drop_ForgetsAPartialChunk()
    {
        using LevelSystem levels = New(("a", 4, 1));
        AddOnes(levels);
        levels.Advance(2);
        levels.Drop();
        levels.Advance(2);
        Assert.Equal([1f, 1], levels.Levels[0].Parameters[0].Value.ToArray());
    }

    [Fact]
    public void ErrorTermsThatAreNotFinite_ChangeNothing()
    {
        using LevelSystem levels = New(("a", 2, 1), ("b", 2, 1));
        AddOnes(levels);
        levels.Advance(1);
        levels.Levels[1].Parameters[0].Error.Span[1] = float.NaN;
        NotFiniteNumberException e = Assert.Throws<NotFiniteNumberException>(() => levels.Advance(1));
        Assert.Contains("'b'", e.Message, StringComparison.Ordinal);
        Assert.Equal(1, levels.Step);
        Assert.Equal(1, levels.Levels[0].Pending);
        Assert.Equal([1f, 1], levels.Levels[0].Parameters[0].Value.ToArray());
        Assert.Equal([1f, 1], levels.Levels[0].Parameters[0].Error.ToArray());
    }

    [Fact]
    public void Learn_TakesBackWhatIsNotFinite()
    {
        using LevelSystem levels = New(("a", 1, 1), ("b", 4, 1));
        levels.Learn(1, () => AddOnes(levels));
        float[] value = levels.Levels[0].Parameters[0].Value.ToArray(), waiting = levels.Levels[1].Parameters[0].Error.ToArray();
        NotFiniteNumberException e = Assert.Throws<NotFiniteNumberException>(() => levels.Learn(1, () =>
        {
            AddOnes(levels);
            levels.Levels[1].Parameters[0].Error.Span[1] = float.NaN;
        }));

        // Level b is not due, and its error terms would have waited for its commit.
        Assert.Contains("'b'", e.Message, StringComparison.Ordinal);
        Assert.Equal(1, levels.Step);
        Assert.Equal(value, levels.Levels[0].Parameters[0].Value.ToArray());
        Assert.Equal([0f, 0], levels.Levels[0].Parameters[0].Error.ToArray());
        Assert.Equal(waiting, levels.Levels[1].Parameters[0].Error.ToArray());
        Assert.Equal([1f, 1], waiting);
    }

    [Fact]
    public void ClipNorm_BoundsTheReducedErrorTerms()
    {
        using var p = new Parameter("p", _device.Zeros([2]));
        using var levels = new LevelSystem(new Level("a", 1, 1, new GradientDescent(), [p]) { ClipNorm = 1 });
        p.Error.Span[0] = 3;
        p.Error.Span[1] = 4;
        levels.Advance(1);
        Assert.Equal(-0.6f, p.Value.ToArray()[0], 6);
        Assert.Equal(-0.8f, p.Value.ToArray()[1], 6);
    }

    [Fact]
    public void Warmup_RaisesTheRateLinearly()
    {
        using var p = new Parameter("p", _device.Zeros([1]));
        using var levels = new LevelSystem(new Level("a", 1, 1, new GradientDescent(), [p]) { WarmupCommits = 3 });
        float[] steps = new float[5];
        for (int i = 0; i < steps.Length; i++)
        {
            float before = p.Value.ToArray()[0];
            p.Error.Fill(1);
            levels.Advance(1);
            steps[i] = before - p.Value.ToArray()[0];
        }

        Assert.Equal([0.25f, 0.5f, 0.75f, 1, 1], steps);
    }

    [Fact]
    public void Checkpoint_InsideAChunk_ContinuesToTheSameBits()
    {
        using LevelSystem whole = NewAdam(), first = NewAdam(), second = NewAdam();
        Run(whole, 0, 11);
        Run(first, 0, 5);
        var file = new SafetensorsFile();
        first.Save(file, "x.");
        second.Load(file, "x.");
        Run(second, 5, 11);
        Assert.Equal(whole.Step, second.Step);
        Assert.Equal(whole.Timeline.Commits, second.Timeline.Commits);
        for (int i = 0; i < whole.Levels.Count; i++)
        {
            Assert.Equal(whole.Levels[i].Parameters[0].Value.ToArray(), second.Levels[i].Parameters[0].Value.ToArray());
            Assert.Equal(whole.Levels[i].Parameters[0].Error.ToArray(), second.Levels[i].Parameters[0].Error.ToArray());
            Assert.Equal(whole.Levels[i].Pending, second.Levels[i].Pending);
        }
    }

    [Fact]
    public void Load_ThatDoesNotFit_ChangesNothing()
    {
        using LevelSystem levels = NewAdam();
        Run(levels, 0, 5);
        var before = new SafetensorsFile();
        levels.Save(before, "");
        foreach (string missing in before.Names)
        {
            var file = new SafetensorsFile();
            foreach ((string key, string value) in before.Metadata)
                file.Metadata[key] = value;
            foreach (string name in before.Names.Where(n => n != missing))
            {
                if (name is "clock" or "timeline")
                    file.Add(name, before.Integers(name, before.ShapeOf(name).ElementCount));
                else
                    file.Add(name, before.ShapeOf(name), new float[before.ShapeOf(name).ElementCount]);
            }

            Assert.Contains($"'{missing}'", Assert.Throws<CheckpointException>(() => levels.Load(file, "")).Message,
                StringComparison.Ordinal);
        }

        var after = new SafetensorsFile();
        levels.Save(after, "");
        foreach (string name in before.Names.Where(n => n is not ("clock" or "timeline")))
            Assert.Equal(before.Floats(name).ToArray(), after.Floats(name).ToArray());
        Assert.Equal(5, levels.Step);
    }

    [Fact]
    public void LevelsDueTogether_CommitAsEachAlone()
    {
        // Two levels of Adam and one of gradient descent, whose parameters are committed in as many calls.
        using LevelSystem together = Mixed("a", "b", "c");
        using LevelSystem a = Mixed("a"), b = Mixed("b"), c = Mixed("c");
        LevelSystem[] apart = [a, b, c];
        for (int t = 0; t < 12; t++)
        {
            foreach (LevelSystem levels in (LevelSystem[])[together, .. apart])
            {
                foreach (Parameter parameter in levels.Levels.SelectMany(l => l.Parameters))
                {
                    float[] values = new float[parameter.Value.Count];
                    new CounterRandom(7, (ulong)(t + 100 * parameter.Value.Count)).FillNormal(values, 1);
                    using Tensor error = _device.From(parameter.Value.Shape, values);
                    parameter.AddError(error);
                }

                levels.Advance(1);
            }
        }

        for (int i = 0; i < apart.Length; i++)
        {
            Level one = apart[i].Levels[0], same = together.Levels[i];
            Assert.Equal(one.Commits, same.Commits);
            for (int p = 0; p < one.Parameters.Count; p++)
            {
                Assert.Equal(one.Parameters[p].Value.ToArray(), same.Parameters[p].Value.ToArray());
                Assert.Equal(one.Parameters[p].Error.ToArray(), same.Parameters[p].Error.ToArray());
                Assert.Equal(one.Memories[p].Commits, same.Memories[p].Commits);
            }

            Assert.Equal(
                apart[i].Timeline.Commits.Select(l => (l.Step, l.Change, l.Norm)),
                together.Timeline.Commits.Where(l => l.Level == i).Select(l => (l.Step, l.Change, l.Norm)));
        }
    }

    [Fact]
    public void Timeline_MeasuresWhatAdamDid()
    {
        using LevelSystem levels = Mixed("a");
        Parameter[] parameters = [.. levels.Levels[0].Parameters];
        foreach (Parameter parameter in parameters)
            parameter.Error.Fill(0.5f);
        float[][] before = Array.ConvertAll(parameters, p => p.Value.ToArray());
        levels.Advance(2);
        double change = 0, norm = 0;
        for (int i = 0; i < parameters.Length; i++)
        {
            float[] after = parameters[i].Value.ToArray();
            for (int e = 0; e < after.Length; e++)
            {
                change += ((double)after[e] - before[i][e]) * ((double)after[e] - before[i][e]);
                norm += (double)before[i][e] * before[i][e];
            }
        }

        LevelCommit commit = Assert.Single(levels.Timeline.Commits);
        Assert.Equal(Math.Sqrt(change), commit.Change, Tolerances.SumOfSquares * Math.Sqrt(change));
        Assert.Equal(Math.Sqrt(norm), commit.Norm, Tolerances.SumOfSquares * Math.Sqrt(norm));
    }

    [Fact]
    public void ARateThatIsNotFinite_ChangesNothing()
    {
        using LevelSystem levels = New(("a", 2, 1), ("b", 2, 1));
        AddOnes(levels);
        levels.Levels[1].LearningRate = float.NaN;
        Assert.Throws<ArgumentOutOfRangeException>(() => levels.Advance(2));
        Assert.Equal(0, levels.Step);
        Assert.All(levels.Levels, l => Assert.Equal((0L, 0L), (l.Commits, l.Pending)));
        Assert.All(levels.Levels, l => Assert.Equal([1f, 1], l.Parameters[0].Value.ToArray()));
        Assert.All(levels.Levels, l => Assert.Equal([1f, 1], l.Parameters[0].Error.ToArray()));
    }

    [Fact]
    public void HalfMoments_GoThroughACheckpoint()
    {
        using LevelSystem whole = Half(), first = Half(), second = Half();
        Run(whole, 0, 11);
        Run(first, 0, 5);
        var written = new SafetensorsFile();
        first.Save(written, "x.");
        Assert.Equal([2], written.ShapeOf("x.memory.a.m.bf16"));
        second.Load(written, "x.");
        Run(second, 5, 11);
        for (int i = 0; i < whole.Levels.Count; i++)
        {
            Assert.Equal(whole.Levels[i].Parameters[0].Value.ToArray(), second.Levels[i].Parameters[0].Value.ToArray());
            Assert.All(BFloat16.Unpack(whole.Levels[i].Memories[0].State[1].Value, 3), v => Assert.True(v > 0));
        }

        // Moments of another precision are refused by the setting, or by their names.
        using LevelSystem full = NewAdam();
        Assert.Contains("Optimizer.Moments", Assert.Throws<CheckpointException>(() => full.Load(written, "x.")).Message,
            StringComparison.Ordinal);
        written.Metadata.Clear();
        Assert.Contains("'x.memory.a.m'", Assert.Throws<CheckpointException>(
            () => full.Load(written, "x.", ["configuration"])).Message, StringComparison.Ordinal);

        LevelSystem Half() => NewAdam(new Adam { WeightDecay = 0.1f, Moments = MomentPrecision.BFloat16, Seed = 4 });
    }

    [Fact]
    public void AdamsSettings_AreCheckedBeforeThereIsALevel()
    {
        using var p = new Parameter("p", _device.Zeros([1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Level("a", 1, 1, new Adam { Beta2 = 1 }, [p]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Level("a", 1, 1, new Adam { Epsilon = -1 }, [p]));
    }

    [Fact]
    public void OptimizerMemories_TellTheirRuleAndTheirLevels()
    {
        using LevelSystem levels = Mixed("a", "c");
        OptimizerMemory adam = levels.Levels[0].Memories[0], descent = levels.Levels[1].Memories[0];
        Assert.StartsWith("AdamW: m ← β1 m + (1 − β1) g, ", adam.Optimizer.Rule, StringComparison.Ordinal);
        Assert.EndsWith("β1 = 0.9, β2 = 0.999, ε = 1e-8, λ = 0.1", adam.Optimizer.Rule, StringComparison.Ordinal);
        Assert.Equal(new OptimizerMemoryLevel("m, v", 1, 2 * 3 * sizeof(float)), Assert.Single(adam.Levels));
        Assert.Equal("Gradient descent: W ← W − η g", descent.Optimizer.Rule);
        Assert.Empty(descent.Levels);
    }

    [Fact]
    public void AParameterInTwoLevels_IsRefused()
    {
        using var p = new Parameter("p", _device.Zeros([1]));
        Assert.Throws<ArgumentException>(() => new LevelSystem(
            new Level("a", 1, 1, new GradientDescent(), [p]), new Level("b", 2, 1, new GradientDescent(), [p])));
        Assert.Throws<ArgumentException>(() => new LevelSystem([]));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Level("a", 0, 1, new GradientDescent(), [p]));
    }

    public void Dispose() => _device.Dispose();

    private LevelSystem New(params (string Name, int Chunk, float Rate)[] levels) =>
        New([.. levels.Select(l => (l.Name, l.Chunk, l.Rate, ErrorReduction.Sum))]);

    private LevelSystem New(params (string Name, int Chunk, float Rate, ErrorReduction Reduction)[] levels) =>
        new(levels.Select(l =>
        new Level(l.Name, l.Chunk, l.Rate, new GradientDescent(),
            [new Parameter("p." + l.Name, _device.Full([2], 1))])
        { Reduction = l.Reduction }));

    // A level for each name, with parameters of several sizes.
    private LevelSystem Mixed(params string[] names) => new(names.Select(MixedLevel)) { RecordsTimeline = true };

    private Level MixedLevel(string name)
    {
        Optimizer optimizer = name == "c" ? new GradientDescent() : new Adam { WeightDecay = 0.1f };
        Parameter[] parameters = [new(name + 1, _device.Full([3], 1)), new(name + 2, _device.Full([40, 500], 0.5f), decays: false)];
        return new Level(name, name == "b" ? 3 : 2, 0.1f, optimizer, parameters) { ClipNorm = 5 };
    }

    private LevelSystem NewAdam() => NewAdam(new Adam { WeightDecay = 0.1f });

    private LevelSystem NewAdam(Adam adam) =>
        new(new[] { ("a", 2), ("b", 4) }.Select(l =>
            new Level(l.Item1, l.Item2, 0.1f, adam, [new Parameter(l.Item1, _device.Full([3], 1))])))
        {
            RecordsTimeline = true,
        };

    private void AddOnes(LevelSystem levels)
    {
        using Tensor ones = _device.Full([2], 1);
        foreach (Level level in levels.Levels)
            level.Parameters[0].AddError(ones);
    }

    private void Run(LevelSystem levels, int from, int to)
    {
        for (int t = from; t < to; t++)
        {
            float[] values = new float[3];
            new CounterRandom(3, (ulong)t).FillNormal(values, 1);
            using Tensor error = _device.From([3], values);
            foreach (Level level in levels.Levels)
                level.Parameters[0].AddError(error);
            levels.Advance(1);
        }
    }
}
