using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>Every optimizer against its reference, and what holds for all of them.</summary>
public abstract class OptimizerReferenceTests(string backend) : BackendTests(backend)
{
    private const int Steps = 20;

    [Theory]
    [MemberData(nameof(OptimizerCase.Names), MemberType = typeof(OptimizerCase))]
    public void ManyCommits_FollowTheReference(string name)
    {
        OptimizerCase c = OptimizerCase.Find(name);
        foreach ((int rows, int columns) in ((int, int)[])[(1, 1), (1, 7), (7, 1), (6, 9), (9, 6), (8, 8), (33, 17), (16, 130)])
        {
            var data = new TestData((ulong)(rows * 1000 + columns));
            float[] start = data.Normal([rows, columns]);
            using Parameter parameter = new("w", Device.From([rows, columns], start));
            using OptimizerMemory memory = c.Optimizer.CreateMemory(parameter);
            ReferenceOptimizer reference = c.Reference(rows, columns, Compare.ToDouble(start));
            for (int step = 1; step <= Steps; step++)
            {
                // Gradients with a common direction, at a rate that changes; every seventh is zero.
                float scale = step % 7 == 0 ? 0 : 0.5f, rate = 0.02f / step;
                float[] g = data.Normal([rows, columns]);
                g[0] += 2;
                parameter.Error.CopyFrom(g);
                memory.Commit(parameter, rate, scale);
                reference.Step(Array.ConvertAll(g, x => (double)scale * x), rate);
                Compare.SameBits("the error term after Commit", parameter.Error.ToArray(), g);
            }

            Assert.Equal(Steps, memory.Commits);
            Compare.Close($"{name} [{rows}, {columns}]", parameter.Value, reference.W, c.Tolerance);
        }
    }

    [Theory]
    [MemberData(nameof(OptimizerCase.Names), MemberType = typeof(OptimizerCase))]
    public void Checkpoint_MidStream_ContinuesToTheSameBits(string name)
    {
        Optimizer optimizer = OptimizerCase.Find(name).Optimizer;
        using LevelSystem whole = Levels(optimizer, 1), first = Levels(optimizer, 1), second = Levels(optimizer, 2);
        Run(whole, 0, 23);
        Run(first, 0, 9);
        var file = new SafetensorsFile();
        first.Save(file, "x.");
        second.Load(file, "x.");
        Run(second, 9, 23);
        Same(second, whole);
    }

    [Theory]
    [MemberData(nameof(OptimizerCase.Names), MemberType = typeof(OptimizerCase))]
    public void Threads_DoNotChangeBits(string name)
    {
        Optimizer optimizer = OptimizerCase.Find(name).Optimizer;
        SameBitsForAnyThreads(() =>
        {
            using LevelSystem levels = Levels(optimizer, 3, [130, 260], [200, 140]);
            Run(levels, 0, 5);
            return [.. Tensors(levels).Select(t => (t.Name, t.Value.ToArray())),
                ("change", [.. levels.Timeline.Commits.Select(l => (float)l.Change)])];
        });
    }

    [Theory]
    [MemberData(nameof(OptimizerCase.Names), MemberType = typeof(OptimizerCase))]
    public void NanGradient_LeavesEverythingAsItWas(string name)
    {
        using LevelSystem levels = Levels(OptimizerCase.Find(name).Optimizer, 4), before = Levels(OptimizerCase.Find(name).Optimizer, 4);
        Run(levels, 0, 5);
        Run(before, 0, 5);
        foreach (LevelSystem system in (LevelSystem[])[levels, before])
            system.Levels[0].Parameters[1].Error.Fill(float.NaN);
        Assert.Throws<NotFiniteNumberException>(() => levels.Advance(1));
        Same(levels, before);
        Assert.Equal(5, levels.Step);
    }

    [Theory]
    [MemberData(nameof(OptimizerCase.Names), MemberType = typeof(OptimizerCase))]
    public void Timeline_MeasuresTheChange(string name)
    {
        using LevelSystem levels = Levels(OptimizerCase.Find(name).Optimizer, 5);
        Run(levels, 0, 3);
        float[][] before = [.. levels.Levels[0].Parameters.Select(p => p.Value.ToArray())];
        Run(levels, 3, 4);
        double change = 0, norm = 0;
        foreach ((float[] old, Parameter parameter) in before.Zip(levels.Levels[0].Parameters))
        {
            change += old.Zip(parameter.Value.ToArray(), (x, y) => ((double)y - x) * ((double)y - x)).Sum();
            norm += old.Sum(x => (double)x * x);
            Assert.All(parameter.Error.ToArray(), e => Assert.Equal(0, e));
        }

        LevelCommit last = levels.Timeline.Commits[^1];
        // The change is small beside the values, whose difference is formed in float32 where it is not measured in the commit.
        Assert.Equal(Math.Sqrt(change), last.Change, 1e-5 * Math.Sqrt(change));
        Assert.Equal(Math.Sqrt(norm), last.Norm, 1e-12 * Math.Sqrt(norm));
    }

    [Theory]
    [MemberData(nameof(OptimizerCase.Names), MemberType = typeof(OptimizerCase))]
    public void Reset_ForgetsEveryGradient(string name)
    {
        Optimizer optimizer = OptimizerCase.Find(name).Optimizer;
        using LevelSystem used = Levels(optimizer, 6), fresh = Levels(optimizer, 6);
        float[][] start = [.. used.Levels[0].Parameters.Select(p => p.Value.ToArray())];
        Run(used, 0, 6);
        foreach ((Parameter parameter, OptimizerMemory memory) in used.Levels[0].Parameters.Zip(used.Levels[0].Memories))
            memory.Reset();
        for (int i = 0; i < start.Length; i++)
            used.Levels[0].Parameters[i].Value.CopyFrom(start[i]);
        Run(used, 0, 6);
        Run(fresh, 0, 6);
        foreach (((string tensor, Tensor value), (_, Tensor expected)) in Tensors(used).Zip(Tensors(fresh)))
            Compare.SameBits($"{name} {tensor}", value.ToArray(), expected.ToArray());
    }

    [Theory]
    [MemberData(nameof(OptimizerCase.Names), MemberType = typeof(OptimizerCase))]
    public void Levels_CountAllOfTheState(string name)
    {
        using LevelSystem levels = Levels(OptimizerCase.Find(name).Optimizer, 7);
        foreach (OptimizerMemory memory in levels.Levels[0].Memories)
        {
            Assert.Equal(memory.State.Sum(s => 4L * s.Value.Count), memory.Levels.Sum(l => l.Bytes));
            Assert.Equal(memory.State.Count, memory.State.Select(s => s.Name).Distinct().Count());
            Assert.All(memory.Levels, l => Assert.True(l.Name.Length > 0 && l.Period >= 0));
            Assert.Contains("W ← ", memory.Optimizer.Rule, StringComparison.Ordinal);
            Assert.DoesNotContain('\n', memory.Optimizer.Rule);
        }
    }

    private LevelSystem Levels(Optimizer optimizer, ulong seed, Shape? first = null, Shape? second = null)
    {
        var data = new TestData(seed);
        Parameter[] parameters = [New("a", first ?? [6, 9]), New("b", second ?? [9, 4])];
        return new LevelSystem(new Level("level", 2, 0.05f, optimizer, parameters) { Reduction = ErrorReduction.Mean, ClipNorm = 5 })
        {
            RecordsTimeline = true,
        };

        Parameter New(string name, Shape shape) => new(name, Device.From(shape, data.Normal(shape)));
    }

    // Every second step commits; a checkpoint after an odd one has error terms waiting.
    private void Run(LevelSystem levels, int from, int to)
    {
        for (int step = from; step < to; step++)
        {
            foreach (Parameter parameter in levels.Levels[0].Parameters)
            {
                using Tensor error = Device.From(parameter.Value.Shape, new TestData((ulong)(100 + step)).Normal(parameter.Value.Shape));
                parameter.AddError(error);
            }

            levels.Advance(1);
        }
    }

    private static void Same(LevelSystem actual, LevelSystem expected)
    {
        foreach (((string name, Tensor value), (_, Tensor other)) in Tensors(actual).Zip(Tensors(expected)))
            Compare.SameBits(name, value.ToArray(), other.ToArray());
        Assert.Equal(expected.Levels[0].Memories.Select(m => m.Commits), actual.Levels[0].Memories.Select(m => m.Commits));
        Assert.Equal(expected.Timeline.Commits, actual.Timeline.Commits);
    }

    private static IEnumerable<(string Name, Tensor Value)> Tensors(LevelSystem levels)
    {
        foreach ((Parameter parameter, OptimizerMemory memory) in levels.Levels[0].Parameters.Zip(levels.Levels[0].Memories))
        {
            yield return (parameter.Name, parameter.Value);
            yield return (parameter.Name + " error", parameter.Error);
            foreach ((string name, Tensor value) in memory.State)
                yield return ($"{parameter.Name} {name}", value);
        }
    }
}

public sealed class ManagedOptimizerReferenceTests() : OptimizerReferenceTests("managed");

public sealed class CpuOptimizerReferenceTests() : OptimizerReferenceTests("cpu");
