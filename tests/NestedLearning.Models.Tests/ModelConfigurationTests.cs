using Xunit;

namespace NestedLearning.Models.Tests;

public sealed class ModelConfigurationTests
{
    public static TheoryData<string, ModelConfiguration> Wrong => new()
    {
        { "Mixer is 99", new() { Mixer = (TokenMixer)99 } },
        { "Objective is 99", new() { Objective = (MemoryObjective)99 } },
        { "Vocabulary is 0", new() { Vocabulary = 0 } },
        { "Dim is -1", new() { Dim = -1 } },
        { "Dim is 10, expected a multiple of Heads = 4", new() { Dim = 10 } },
        { "Blocks is 0", new() { Blocks = 0 } },
        { "Heads is 0", new() { Heads = 0 } },
        { "MemoryChunk is 257", new() { MemoryChunk = 257 } },
        { "AttentionSegment is 0", new() { AttentionSegment = 0 } },
        { "PersistentTokens is -1", new() { PersistentTokens = -1 } },
        { "RotaryBase is NaN", new() { RotaryBase = float.NaN } },
        { "EtaScale is NaN", new() { EtaScale = float.NaN } },
        { "AlphaBias is ", new() { AlphaBias = float.PositiveInfinity } },
        { "ContextLength is -1", new() { ContextLength = -1 } },
        { "WarmupCommits is -1", new() { WarmupCommits = -1 } },
        { "ClipNorm is 0", new() { ClipNorm = 0 } },
        { "Beta2 is 1, expected at least 0 and below 1", new() { Beta2 = 1 } },
        { "WeightDecay is NaN", new() { WeightDecay = float.NaN } },
        { "ProjectionLevel is 3", new() { ProjectionLevel = 3 } },
        { "Levels is empty", new() { Levels = [] } },
        { "Levels[0].Name is empty", new() { Levels = [new("", 1, 1, 1)], ProjectionLevel = 0 } },
        { "Levels[0].LearningRate is NaN", new() { Levels = [new("a", 1, float.NaN, 1)], ProjectionLevel = 0 } },
        { "Levels[0].Chunk is 0", new() { Levels = [new("a", 0, 1, 1)], ProjectionLevel = 0 } },
        { "Levels[0].Hidden is 0", new() { Levels = [new("a", 1, 1, 0)], ProjectionLevel = 0 } },
        { "Levels[1].Hidden is 0", new() { Levels = [new("a", 1, 1, 1), new("b", 1, 1, 0)], ProjectionLevel = 0 } },
        { "Levels[1].Hidden is -1", new() { Levels = [new("a", 1, 1, 1), new("b", 1, 1, -1)] } },
        { "Levels[0].Reduction is 9", new() { Levels = [new("a", 1, 1, 1) { Reduction = (ErrorReduction)9 }], ProjectionLevel = 0 } },
        { "Levels[0].WarmupCommits is -1", new() { Levels = [new("a", 1, 1, 1) { WarmupCommits = -1 }], ProjectionLevel = 0 } },
        { "Levels[0].ClipNorm is 0", new() { Levels = [new("a", 1, 1, 1) { ClipNorm = 0 }], ProjectionLevel = 0 } },
        {
            "Levels[0].Optimizer: Decay is 1, expected at least 0 and below 1",
            new() { Levels = [new("a", 1, 1, 1) { Optimizer = new Momentum { Decay = 1 } }], ProjectionLevel = 0 }
        },
        { "Levels[1].Chunk is 3, expected a multiple", new() { Levels = [new("a", 2, 1, 1), new("b", 3, 1, 1)] } },
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public void Validate_NamesTheFieldAndItsValue(string message, ModelConfiguration configuration)
    {
        ArgumentException e = Assert.Throws<ArgumentException>(configuration.Validate);
        Assert.StartsWith(message, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Presets_AreValid_AndCoverEveryMixer()
    {
        Assert.All(ModelConfiguration.Presets, p => p.Configuration.Validate());
        Assert.Equal(Enum.GetValues<TokenMixer>(), ModelConfiguration.Presets.Select(p => p.Configuration.Mixer).Distinct().Order());
        Assert.Distinct(ModelConfiguration.Presets.Select(p => p.Name));
    }

    // What each preset says it is; a setting that is lost makes another model of it.
    [Theory]
    [InlineData("hope", TokenMixer.SelfModifyingTitans, true, false, "64 256 1024", 1)]
    [InlineData("hope-attention", TokenMixer.Attention, true, false, "64 256 1024", 1)]
    [InlineData("transformer", TokenMixer.Attention, false, false, "64", 0)]
    [InlineData("titans", TokenMixer.Titans, true, false, "64", 0)]
    [InlineData("titans-mac", TokenMixer.TitansAsContext, true, false, "64", 0)]
    [InlineData("titans-mag", TokenMixer.TitansAsGate, true, false, "64", 0)]
    [InlineData("titans-mal", TokenMixer.TitansAsLayer, true, false, "64", 0)]
    [InlineData("deltanet", TokenMixer.DeltaNet, true, false, "64", 0)]
    [InlineData("gated-deltanet", TokenMixer.DeltaNet, true, true, "64", 0)]
    [InlineData("linear-attention", TokenMixer.LinearAttention, true, false, "64", 0)]
    [InlineData("retention", TokenMixer.LinearAttention, true, true, "64", 0)]
    public void Preset_IsWiredAsItSays(string name, TokenMixer mixer, bool convolution, bool decay, string chunks, int projectionLevel)
    {
        ModelConfiguration preset = ModelConfiguration.Presets.Single(p => p.Name == name).Configuration;
        Assert.Equal((mixer, convolution, decay, projectionLevel),
            (preset.Mixer, preset.Convolution, preset.Decay, preset.ProjectionLevel));
        Assert.Equal(chunks, string.Join(' ', preset.Levels.Select(l => l.Chunk)));
        Assert.Equal(ModelConfiguration.Hope.Levels.Sum(l => l.Hidden), preset.Levels.Sum(l => l.Hidden));
    }
}
