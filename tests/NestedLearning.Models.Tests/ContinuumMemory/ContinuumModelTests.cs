using System.Text;
using NestedLearning.Testing;
using Xunit;

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

    private static byte[] Pattern(int length)
    {
        byte[] period = Encoding.UTF8.GetBytes("the quick brown fox; ");
        return [.. Enumerable.Range(0, length).Select(i => period[i % period.Length])];
    }

    private static float[] Read(StreamLearner stream, byte[] text)
    {
        float[] losses = new float[text.Length];
        for (int i = 0; i < text.Length; i += stream.SegmentLength)
        {
            int n = Math.Min(stream.SegmentLength, text.Length - i);
            stream.Read(text.AsSpan(i, n), losses.AsSpan(i, n));
        }

        return losses;
    }
}

public sealed class ManagedContinuumModelTests() : ContinuumModelTests("managed");

public sealed class CpuContinuumModelTests() : ContinuumModelTests("cpu");
