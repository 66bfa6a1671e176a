using NestedLearning.Models.Continual;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests;

/// <summary>Every allocation of a device's memory fails in turn: what was called has then changed nothing.</summary>
public abstract class AllocationFailureTests(string backend) : BackendTests(backend)
{
    private static readonly byte[] s_text = [.. Enumerable.Range(0, 200).Select(i => (byte)('a' + i * i % 23))];

    public static TheoryData<string> Optimizers => [.. NamedOptimizers.Names, "deep-momentum", "preconditioned-momentum"];

    [Theory]
    [MemberData(nameof(Optimizers))]
    public void Read_LearnsAllOrNothing(string optimizer)
    {
        ModelConfiguration configuration = Small with
        {
            Levels = [.. Small.Levels.Select(l => l with { Optimizer = Create(optimizer) })],
        };
        using StreamLearner learner = StreamLearner.Create(Device, configuration, "learner");
        float[] losses = new float[8];
        // Both levels commit at the end of the second segment.
        learner.Read(s_text.AsSpan(0, 8), losses);
        EveryAllocationFails(learner, () => learner.Read(s_text.AsSpan(8, 8), losses), changes: true);
    }

    [Theory]
    [InlineData(TokenMixer.SelfModifyingTitans, ContinuumVariant.Nested)]
    [InlineData(TokenMixer.TitansAsContext, ContinuumVariant.Sequential)]
    [InlineData(TokenMixer.TitansAsGate, ContinuumVariant.Independent)]
    [InlineData(TokenMixer.DeltaNet, ContinuumVariant.Nested)]
    public void Read_OfALevelThatReturnsToItsStart_LearnsAllOrNothing(TokenMixer mixer, ContinuumVariant variant)
    {
        using StreamLearner learner = StreamLearner.Create(Device,
            Small with { Mixer = mixer, Continuum = new() { Variant = variant, GeneratorRank = 2 } }, "learner");
        float[] losses = new float[8];
        learner.Read(s_text.AsSpan(0, 8), losses);
        EveryAllocationFails(learner, () => learner.Read(s_text.AsSpan(8, 8), losses), changes: true);
    }

    [Fact]
    public void WhatOnlyLooks_ChangesNothing()
    {
        using StreamLearner learner = StreamLearner.Create(Device, Small, "learner");
        learner.Read(s_text.AsSpan(0, 8), new float[8]);
        EveryAllocationFails(learner, () => learner.Evaluate(s_text.AsSpan(0, 20)), changes: false);
        EveryAllocationFails(learner, () => learner.Generate(5), changes: false);
        EveryAllocationFails(learner, () => learner.NextByte(), changes: false);
        EveryAllocationFails(learner, () => learner.Fork("fork").Dispose(), changes: false);
    }

    [Fact]
    public void Load_TakesOverAllOrNothing()
    {
        using StreamLearner learner = StreamLearner.Create(Device, Small, "learner");
        learner.Read(s_text.AsSpan(0, 8), new float[8]);
        var file = new SafetensorsFile();
        learner.Save(file, "");
        learner.Read(s_text.AsSpan(8, 5), new float[5]);
        EveryAllocationFails(learner, () => learner.Load(file, ""), changes: true);
        EveryAllocationFails(learner, () => StreamLearner.Load(Device, file, "", "other").Dispose(), changes: false);
    }

    [Fact]
    public void Slots_LearnAndCommitAllOrNothing()
    {
        var settings = new SlotSettings { Slots = 1, Period = 8, TextBytes = 8, ProbePeriod = 8, ProbeBytes = 4 };
        using SlotLearner learner = SlotLearner.Create(Device, Small, settings, "slots");
        float[] losses = new float[8];
        learner.Read(s_text.AsSpan(0, 8), losses);
        learner.Read(s_text.AsSpan(8, 8), losses);
        // The second commit to a slot, which evicts, a slot that reads along, and one that wakes after it slept.
        EveryAllocationFails(() => Saved(learner), () => learner.Read(s_text.AsSpan(16, 4), losses.AsSpan(0, 4)), changes: true);
        EveryAllocationFails(() => Saved(learner), () => learner.Read(s_text.AsSpan(20, 4), losses.AsSpan(0, 4)), changes: true);
        EveryAllocationFails(() => Saved(learner), () => learner.Evaluate(s_text.AsSpan(0, 20)), changes: false);
        EveryAllocationFails(() => Saved(learner), () => learner.Fork("fork").Dispose(), changes: false);
        var file = new SafetensorsFile();
        learner.Save(file, "");
        learner.Read(s_text.AsSpan(24, 8), losses);
        EveryAllocationFails(() => Saved(learner), () => learner.Load(file, ""), changes: true);
    }

    public static TheoryData<string> Strategies => ["replay", "ewc", "si"];

    [Theory]
    [MemberData(nameof(Strategies))]
    public void Strategy_LearnsAllOrNothing(string name)
    {
        using StrategyLearner learner = StrategyLearner.Create(Device, Small, name switch
        {
            "replay" => new Replay(2, 1, 3),
            "ewc" => new ElasticWeightConsolidation(1, 8),
            _ => new SynapticIntelligence(1, 8),
        }, name);
        float[] losses = new float[8];
        learner.Read(s_text.AsSpan(0, 8), losses);
        EveryAllocationFails(() => Saved(learner), () => learner.Read(s_text.AsSpan(8, 8), losses), changes: true);
        EveryAllocationFails(() => Saved(learner), () => learner.Fork("fork").Dispose(), changes: false);
        var file = new SafetensorsFile();
        learner.Save(file, "");
        learner.Read(s_text.AsSpan(16, 8), losses);
        EveryAllocationFails(() => Saved(learner), () => learner.Load(file, ""), changes: true);
    }

    [Fact]
    public void Model_LearnsAllOrNothing()
    {
        using var model = new SequenceModel(Device, Small);
        using IndexTensor tokens = Device.FromIndices([2, 6], [.. Enumerable.Range(1, 12)]);
        using IndexTensor targets = Device.FromIndices([2, 6], [.. Enumerable.Range(2, 12)]);
        EveryAllocationFails(Save, () => model.Learn(tokens, targets), changes: true);

        byte[] Save()
        {
            var file = new SafetensorsFile();
            model.Save(file, "");
            return file.ToBytes();
        }
    }

    [Fact]
    public void RidgeMemory_LearnsNewLabelsOrNothing()
    {
        using var memory = new RidgeMemory(Device, new RidgeMemoryConfiguration { Features = 3 });
        memory.Learn([1, 2, 3], 7);
        using Tensor x = Device.From([2, 3], [1, 0, 1, 0, 1, 1]);
        EveryAllocationFails(Save, () => memory.Learn(x, [5, 7]), changes: true);
        Assert.Equal([7, 5], memory.Labels);

        byte[] Save()
        {
            var file = new SafetensorsFile();
            memory.Save(file, "");
            return file.ToBytes();
        }
    }

    [Fact]
    public void CopiesOfAMemory_LearnAllOrNothing()
    {
        var configuration = new ContinuumMemoryConfiguration
        {
            Dim = 4,
            Levels = [new("fast", 2, 0.1f, 5) { Optimizer = new DeltaGradientDescent() }, new("slow", 4, 0.1f, 5)],
            Settings = new() { Variant = ContinuumVariant.Nested },
        };
        using var memory = new ContinuumMemory(Device, configuration);
        using var copies = new ContinuumMemoryCopies(memory, 2);
        float[] values = [.. Enumerable.Range(0, 2 * 2 * 4).Select(i => MathF.Sin(i))];
        using Tensor x = Device.From([2, 2, 4], values), target = Device.From([2, 2, 4], [.. values.Select(v => v * v)]);
        // Both levels commit at the end of the second call.
        copies.Regress(x, target).Dispose();
        EveryAllocationFails(Save, () => copies.Regress(x, target).Dispose(), changes: true);

        byte[] Save()
        {
            var file = new SafetensorsFile();
            copies.Save(file, "");
            return file.ToBytes();
        }
    }

    private static ModelConfiguration Small => new()
    {
        Dim = 8, Heads = 2, Blocks = 1, ContextLength = 32, MemoryChunk = 4, AttentionSegment = 8,
        Levels = [new("fast", 8, 3e-3f, 4), new("slow", 16, 1e-3f, 4)],
    };

    private static Optimizer Create(string name) => name switch
    {
        "deep-momentum" => OptimizerRules.ByShape(new DeepMomentum { Hidden = 3, Preconditioner = new MatrixPreconditioner() }, new Adam()),
        "preconditioned-momentum" => OptimizerRules.ByShape(
            new PreconditionedMomentum { Preconditioner = new MatrixPreconditioner() },
            new PreconditionedMomentum { Preconditioner = new DiagonalPreconditioner() }),
        _ => NamedOptimizers.Create(name),
    };

    private void EveryAllocationFails(StreamLearner learner, Action call, bool changes) =>
        EveryAllocationFails(() => Saved(learner), call, changes);

    private void EveryAllocationFails(Func<byte[]> saved, Action call, bool changes)
    {
        byte[] before = saved();
        MemoryPool pool = Device.Backend.Memory!;
        for (int failing = 1; ; failing++)
        {
            int left = failing;
            pool.BeforeTake = () =>
            {
                if (--left == 0)
                    throw new InsufficientMemoryException("No memory, as the test has it.");
            };
            try
            {
                call();
                Assert.True(failing > 1, "Nothing was allocated.");
                break;
            }
            catch (InsufficientMemoryException)
            {
            }
            finally
            {
                pool.BeforeTake = null;
            }

            Assert.Equal(0, left);
            Assert.True(before.AsSpan().SequenceEqual(saved()), $"Allocation {failing} failed and something changed.");
        }

        Assert.Equal(changes, !before.AsSpan().SequenceEqual(saved()));
    }

    private static byte[] Saved(IStreamLearner learner)
    {
        var file = new SafetensorsFile();
        learner.Save(file, "");
        return file.ToBytes();
    }
}

public sealed class ManagedAllocationFailureTests() : AllocationFailureTests("managed");

public sealed class CpuAllocationFailureTests() : AllocationFailureTests("cpu");
