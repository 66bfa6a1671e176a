using NestedLearning.Testing;
using Xunit;
using static NestedLearning.Models.Tests.Streams;

namespace NestedLearning.Models.Tests;

public abstract class ContinuumModelTests(string backend) : BackendTests(backend)
{
    public static TheoryData<ContinuumVariant, bool> Cases => ContinuumMemoryTests.Cases;

    [Theory]
    [MemberData(nameof(Cases))]
    public void Hope_LearnsAPattern(ContinuumVariant variant, bool turned)
    {
        using StreamLearner stream = StreamLearner.Create(Device, Configuration(variant, turned), "hope");
        float[] losses = Read(stream, Pattern(6000));
        Assert.True(losses[..300].Average() > 3, $"The first losses are {losses[..300].Average()}.");
        Assert.True(losses[^300..].Average() < 0.5, $"The last losses are {losses[^300..].Average()}.");
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Checkpoint_ContinuesToTheSameBits(ContinuumVariant variant, bool turned)
    {
        byte[] text = Pattern(500);
        ModelConfiguration configuration = Configuration(variant, turned);
        using StreamLearner first = StreamLearner.Create(Device, configuration, "a"),
            second = StreamLearner.Create(Device, configuration with { Seed = 5 }, "b");
        Read(first, text[..237]);
        var file = new SafetensorsFile();
        first.Save(file, "x.");
        second.Load(file, "x.");
        Compare.SameBits("losses after", Read(second, text[237..]), Read(first, text[237..]));
    }

    [Fact]
    public void EachLevel_HasItsOwnRule_AndItsStart()
    {
        ModelConfiguration configuration = Configuration(ContinuumVariant.Nested, turned: false);
        using var model = new SequenceModel(Device, configuration);
        Assert.IsType<GradientDescent>(model.Levels.Levels[1].Optimizer);
        Assert.IsType<Adam>(model.Levels.Levels[0].Optimizer);
        // Norm, W_in, b_in and W_out of either block.
        Assert.Equal(8, model.Levels.Levels[0].Start!.Pairs.Count);
        Assert.Equal(4, model.Levels.Levels[0].Start!.Chunks);
        Assert.Null(model.Levels.Levels[2].Start);
        Assert.All(model.Levels.Levels[1].Start!.Pairs, p => Assert.Contains(p.Start, model.Levels.Levels[2].Parameters));
    }

    [Fact]
    public void LevelsSettings_GoBeforeTheModels()
    {
        ModelConfiguration configuration = Configuration(ContinuumVariant.Chained, turned: false);
        configuration = configuration with
        {
            Levels = [configuration.Levels[0],
                configuration.Levels[1] with { Reduction = ErrorReduction.Sum, WarmupCommits = 0, ClipNorm = 0.5 },
                configuration.Levels[2]],
        };
        using var model = new SequenceModel(Device, configuration);
        Assert.Equal([(ErrorReduction.Mean, 4, 1), (ErrorReduction.Sum, 0, 0.5), (ErrorReduction.Mean, 4, 1)],
            model.Levels.Levels.Select(l => (l.Reduction, l.WarmupCommits, l.ClipNorm)));
    }

    [Theory]
    [InlineData(ContinuumVariant.Chained, 0)]
    [InlineData(ContinuumVariant.Nested, 1)]
    [InlineData(ContinuumVariant.Sequential, 2)]
    [InlineData(ContinuumVariant.Independent, 2)]
    public void LevelOfTheProjectionsAlone_HasThemAndNothingElse(ContinuumVariant variant, int index)
    {
        ModelConfiguration configuration = Configuration(variant, turned: false);
        LevelConfiguration[] levels = [.. configuration.Levels];
        levels[index] = levels[index] with { Hidden = 0, LearningRate = 0 };
        configuration = configuration with { Levels = levels, ProjectionLevel = index };
        using StreamLearner learner = StreamLearner.Create(Device, configuration, "learner");
        Level own = learner.Levels[index];
        Assert.Null(own.Start);
        Assert.DoesNotContain(own.Parameters, p => p.Name.Contains("memory.", StringComparison.Ordinal));
        Assert.Contains(own.Parameters, p => p.Name == "embedding");
        // The continuum is that of the other two levels.
        Level faster = learner.Levels.First(l => l != own), slower = learner.Levels.Last(l => l != own);
        Assert.Contains(faster.Parameters, p => p.Name == "block1.memory.0.in");
        Assert.Contains(slower.Parameters, p => p.Name == "block1.memory.1.in");
        Assert.Equal(variant != ContinuumVariant.Chained, faster.Start is not null);
        float[][] before = Values();
        Read(learner, Pattern(256));
        Assert.Equal(2, own.Commits / (128 / own.Chunk));
        // At rate 0, and without decay, what is its own stays.
        Assert.Equal(before, Values());
        Assert.NotEqual(0, learner.Timeline.Commits.Last(c => c.Level == Array.IndexOf([.. learner.Levels], slower)).Change);

        float[][] Values() => [.. own.Parameters.Where(p => !p.Decays).Select(p => p.Value.ToArray())];
    }

    [Fact]
    public void Settings_AreChecked()
    {
        ModelConfiguration configuration = Configuration(ContinuumVariant.Nested, turned: false);
        Assert.Contains("GeneratorRank", Assert.Throws<ArgumentException>(
            () => new SequenceModel(Device,
                configuration with { Continuum = configuration.Continuum with { GeneratorRank = -1 } })).Message, StringComparison.Ordinal);
    }

    private static ModelConfiguration Configuration(ContinuumVariant variant, bool turned) => new()
    {
        Dim = 16, Heads = 2, Blocks = 2, MemoryChunk = 8, ContextLength = 64, WarmupCommits = 4, ProjectionLevel = 0,
        Levels = [new("fast", 16, 5e-3f, 24), new("middle", 64, 5e-3f, 24) { Optimizer = new GradientDescent() },
            new("slow", 128, 5e-3f, 24)],
        Continuum = new ContinuumSettings
        {
            Variant = variant, SlowestFirst = turned, Backpropagates = !turned, GeneratorRank = turned ? 4 : 0, ResetsOptimizers = turned,
        },
    };
}

public sealed class ManagedContinuumModelTests() : ContinuumModelTests("managed");

public sealed class CpuContinuumModelTests() : ContinuumModelTests("cpu");
