using NestedLearning.Testing;
using Xunit;
using static NestedLearning.Models.Tests.Streams;

namespace NestedLearning.Models.Tests;

/// <summary>A checkpoint is loaded by what it was made by, or by what differs from that only where a change is meant.</summary>
public sealed class CheckpointConfigurationTests : IDisposable
{
    private static readonly ModelConfiguration s_small = new()
    {
        Dim = 8, Heads = 2, Blocks = 1, Vocabulary = 256, ContextLength = 32, MemoryChunk = 4, AttentionSegment = 8,
        Levels =
        [
            new("fast", 8, 3e-3f, 4), new("middle", 16, 2e-3f, 4) { Optimizer = NamedOptimizers.Create("muon") },
            new("slow", 32, 1e-3f, 4),
        ],
    };

    private static readonly ContinuumMemoryConfiguration s_memory = new() { Dim = 8, Levels = s_small.Levels };

    private static readonly Momentum s_rest = new() { Decay = 0.25f };

    private readonly Device _device = Device.Open("managed");
    private readonly string _folder = Directory.CreateTempSubdirectory("configuration-").FullName;

    public static TheoryData<string> Settings => [.. SettingChanges.Of(s_small, Fits).Select(c => c.Name)];

    public static TheoryData<string> MemorySettings => [.. SettingChanges.Of(s_memory, Fits).Select(c => c.Name)];

    public static TheoryData<string> Presets => [.. ModelConfiguration.Presets.Select(p => p.Name)];

    public void Dispose()
    {
        _device.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Reflection_FindsTheSettings()
    {
        string[] names = [.. SettingChanges.Of(s_small, Fits).Select(c => c.Name)];
        foreach (string name in (string[])["EtaScale", "AlphaBias", "MemoryChunk", "Objective", "ContextLength", "RotaryBase",
            "NegativeEigenvalues", "Continuum.SlowestFirst", "Beta2", "Levels[1].Chunk", "Levels[2].LearningRate", "AttentionSegment",
            "Levels[0].Optimizer", "Levels[1].Optimizer", "SelfModifying.Key.Chunk", "Continuum.Form.Norm", "Levels.Count"])
            Assert.Contains(name, names);
    }

    [Theory]
    [MemberData(nameof(Settings))]
    public void AnotherSetting_IsRefusedByItsNameAndNothingChanges(string setting)
    {
        ModelConfiguration changed = Changed(setting);
        using var first = new SequenceModel(_device, s_small);
        using var second = new SequenceModel(_device, changed);
        using SequenceState state = first.NewState();
        SafetensorsFile file = new(), before = new(), after = new(), fast = new();
        first.Save(file, "m.");
        state.Save(fast, "s.");
        second.Save(before, "");
        if (setting == nameof(ModelConfiguration.Seed))
        {
            // The file has the values that it would decide.
            second.Load(file, "m.");
            SequenceState.Load(second, 1, fast, "s.").Dispose();
            return;
        }

        foreach (Action load in (Action[])[() => second.Load(file, "m."), () => SequenceState.Load(second, 1, fast, "s.").Dispose()])
        {
            CheckpointException e = Assert.Throws<CheckpointException>(load);
            Assert.StartsWith("The checkpoint is of another configuration: ", e.Message, StringComparison.Ordinal);
            Assert.Contains(setting, e.Message, StringComparison.Ordinal);
        }

        second.Save(after, "");
        foreach (string name in before.Names.Where(before.HoldsFloats))
            Compare.SameBits(name, after.Floats(name), before.Floats(name));
        Assert.Equal(before.Metadata, after.Metadata);
    }

    [Theory]
    [InlineData("LearningRate")]
    [InlineData("learning_rate")]
    [InlineData("Levels[1].LearningRate")]
    [InlineData("levels[1].learning_rate")]
    public void ChangeThatIsMeant_IsAllowedByName(string name)
    {
        ModelConfiguration changed = Changed("Levels[1].LearningRate");
        using StreamLearner first = StreamLearner.Create(_device, s_small, "first"),
            second = StreamLearner.Create(_device, changed, "second");
        float[] losses = new float[8];
        first.Read("12345678"u8, losses);
        var file = new SafetensorsFile();
        first.Save(file, "x.");
        Assert.Contains("Levels[1].LearningRate is 0.002 in the file and 0.001 here",
            Assert.Throws<CheckpointException>(() => second.Load(file, "x.")).Message, StringComparison.Ordinal);
        Assert.Equal(0, second.Position);
        second.Load(file, "x.", [name]);
        Assert.Equal(8, second.Position);
    }

    [Fact]
    public void ChangeOfOneSetting_DoesNotAllowAnother()
    {
        ModelConfiguration changed = Changed("Levels[1].LearningRate") with { Beta2 = 0.5f };
        using StreamLearner first = StreamLearner.Create(_device, s_small, "first"),
            second = StreamLearner.Create(_device, changed, "second");
        var file = new SafetensorsFile();
        first.Save(file, "");
        foreach (string[] allow in (string[][])[["Beta2"], ["Levels[0].LearningRate", "Beta2"], ["Chunk"]])
            Assert.Throws<CheckpointException>(() => second.Load(file, "", allow));
        second.Load(file, "", ["LearningRate", "Beta2"]);
    }

    [Fact]
    public void ChangeThatNobodyKnows_IsRefused()
    {
        using StreamLearner learner = StreamLearner.Create(_device, s_small, "learner");
        var file = new SafetensorsFile();
        learner.Save(file, "");
        ArgumentException e = Assert.Throws<ArgumentException>(() => learner.Load(file, "", ["LearningRat"]));
        Assert.Contains("There is no setting 'LearningRat'", e.Message, StringComparison.Ordinal);
        Assert.Contains("LearningRate", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void FileWithoutAConfiguration_IsRefusedUnlessThatIsAllowed()
    {
        using StreamLearner learner = StreamLearner.Create(_device, s_small, "learner");
        var file = new SafetensorsFile();
        learner.Save(file, "x.");
        file.Metadata.Clear();
        Assert.Contains("has no 'x.configuration'", Assert.Throws<CheckpointException>(() => learner.Load(file, "x.")).Message,
            StringComparison.Ordinal);
        learner.Load(file, "x.", ["configuration"]);
        Assert.Throws<CheckpointException>(() => StreamLearner.Load(_device, file, "x.", "again"));
        file.Metadata["x.configuration"] = "{";
        Assert.Contains("is not JSON", Assert.Throws<CheckpointException>(() => learner.Load(file, "x.")).Message,
            StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Presets))]
    public void File_IsEnoughToGoOn(string preset)
    {
        Optimizer other = OptimizerRules.ByShape(new DeltaMomentum { Preconditioner = new DiagonalPreconditioner { Decay = 0.5 } },
            new Adam { Seed = 5 }, ["memory"]);
        ModelConfiguration configuration = ModelConfiguration.Presets.Single(p => p.Name == preset).Configuration with
        {
            Dim = 8,
            Heads = 2,
            Blocks = 1,
            ContextLength = 32,
            MemoryChunk = 4,
            AttentionSegment = 8,
            Seed = 3,
            ClipNorm = double.PositiveInfinity,
            Levels =
            [
                new("fast", 8, 3e-3f, 4) { Optimizer = NamedOptimizers.Create("muon") },
                new("slow", 32, 1e-3f, 4) { Optimizer = other },
            ],
            ProjectionLevel = 0,
        };
        string path = Path.Combine(_folder, "reader.safetensors");
        byte[] text = new byte[120];
        for (int i = 0; i < text.Length; i++)
            text[i] = (byte)('a' + i * i % 7);
        using StreamLearner first = StreamLearner.Create(_device, configuration, "first");
        Read(first, text[..50]);
        first.Save(path);
        using StreamLearner second = StreamLearner.Load(_device, path);
        Assert.Equal(("reader", 50L), (second.Name, second.Position));
        Compare.SameBits("losses", Read(second, text[50..]), Read(first, text[50..]));
    }

    [Theory]
    [InlineData("\"Beta2\":0.99", "\"Beta2\":2", "Beta2 is 2, expected at least 0 and below 1")]
    [InlineData("\"Decay\":0.25", "\"Decay\":-1", "Levels[1].Optimizer: Decay is -1, expected at least 0 and below 1")]
    [InlineData("\"Hidden\":7", "\"Hidden\":1000000000", "Levels[1].Optimizer: Hidden is 1000000000, expected 1 to 65536")]
    [InlineData("\"Ridge\":0.5", "\"Ridge\":7", "Levels[1].Optimizer: Ridge is 7, expected")]
    [InlineData("\"Dim\":8", "\"Dim\":4000000", "levels.value.embedding")]
    [InlineData("\"Blocks\":1", "\"Blocks\":2", "levels.value.block1.")]
    [InlineData("\"Vocabulary\":256", "\"Vocabulary\":2147483647", "[2147483647, 8]")]
    [InlineData("\"Hidden\":7", "\"Hidden\":7,\"Hidden\":8", "is not JSON")]
    public void ConfigurationThatCannotBe_IsRefused_BeforeMemoryIsTaken(string setting, string changed, string message) =>
        Refused(setting, changed, message, memory: 1 << 20);

    [Fact]
    public void OptimizerThatCannotTakeAParameter_IsRefused() =>
        Refused(OptimizerJson.Write(s_rest).ToJsonString(), OptimizerJson.Write(new Muon()).ToJsonString(), "Muon takes matrices",
            memory: 1 << 24);

    // That a checkpoint with another text in its configuration is refused, having taken at most some bytes of memory.
    private void Refused(string setting, string changed, string message, long memory)
    {
        ModelConfiguration configuration = s_small with
        {
            Dim = 8,
            Levels =
            [
                s_small.Levels[0],
                s_small.Levels[1] with
                {
                    Optimizer = OptimizerRules.ByShape(
                        new DeepMomentum { Hidden = 7, Preconditioner = new MatrixPreconditioner { Ridge = 0.5f } },
                        s_rest, []),
                },
                .. s_small.Levels.Skip(2),
            ],
        };
        var file = new SafetensorsFile();
        using (StreamLearner learner = StreamLearner.Create(_device, configuration, "learner"))
            learner.Save(file, "");
        string json = file.Metadata["configuration"];
        Assert.Contains(setting, json, StringComparison.Ordinal);
        file.Metadata["configuration"] = json.Replace(setting, changed, StringComparison.Ordinal);
        using Device device = Device.Open("managed");
        Assert.Contains(message, Assert.Throws<CheckpointException>(() => StreamLearner.Load(device, file, "", "again")).Message,
            StringComparison.Ordinal);
        Assert.InRange(device.AllocatedBytes, 0, memory);
    }

    [Fact]
    public void RateThatWasChanged_GoesOnInACopyAndFromAFile()
    {
        using var model = new SequenceModel(_device, s_small);
        model.Levels.Levels[1].LearningRate = 0.5f;
        var file = new SafetensorsFile();
        model.Save(file, "");
        using (SequenceModel loaded = SequenceModel.Load(_device, file, ""))
            Assert.Equal(0.5f, loaded.Levels.Levels[1].LearningRate);
        using var other = new SequenceModel(_device, s_small);
        Assert.Contains("Levels[1].LearningRate is 0.5 in the file and 0.002 here",
            Assert.Throws<CheckpointException>(() => other.Load(file, "")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void OptimizerOfSomebodyElse_IsComparedAndNotMade()
    {
        ModelConfiguration With(double scale) => s_small with
        {
            Levels = [s_small.Levels[0] with { Optimizer = new Signs(scale) }, .. s_small.Levels.Skip(1)],
        };
        using var first = new SequenceModel(_device, With(1));
        var file = new SafetensorsFile();
        first.Save(file, "");
        first.Load(file, "");
        using var second = new SequenceModel(_device, With(2));
        Assert.Contains("Levels[0].Optimizer.Rule", Assert.Throws<CheckpointException>(() => second.Load(file, "")).Message,
            StringComparison.Ordinal);
        Assert.Contains("'NestedLearning.Models.Tests.CheckpointConfigurationTests+Signs'",
            Assert.Throws<CheckpointException>(() => SequenceModel.Load(_device, file, "")).Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(MemorySettings))]
    public void AnotherSettingOfAMemory_IsRefusedByItsName(string setting)
    {
        using var first = new ContinuumMemory(_device, s_memory);
        using var second = new ContinuumMemory(_device, SettingChanges.Of(s_memory, Fits).Single(c => c.Name == setting).Changed);
        using var copies = new ContinuumMemoryCopies(second, 2);
        SafetensorsFile file = new(), of = new();
        first.Save(file, "m.");
        using (var own = new ContinuumMemoryCopies(first, 2))
            own.Save(of, "c.");
        if (setting is nameof(ContinuumMemoryConfiguration.Seed) or nameof(ContinuumMemoryConfiguration.OutputDeviation))
        {
            second.Load(file, "m.");
            copies.Load(of, "c.");
            return;
        }

        foreach (Action load in (Action[])[() => second.Load(file, "m."), () => copies.Load(of, "c.")])
            Assert.Contains(setting, Assert.Throws<CheckpointException>(load).Message, StringComparison.Ordinal);
    }

    private static ModelConfiguration Changed(string setting) => SettingChanges.Of(s_small, Fits).Single(c => c.Name == setting).Changed;

    private static bool Fits(ModelConfiguration configuration) => Fits(configuration.Validate);

    private static bool Fits(ContinuumMemoryConfiguration configuration) => Fits(configuration.Validate);

    private static bool Fits(Action validate)
    {
        try
        {
            validate();
            return true;
        }
        catch (ArgumentException)
        {
            return false;
        }
    }

    private sealed class Signs(double scale) : Optimizer
    {
        public override string Rule => $"signs times {scale:F0}";

        public override OptimizerMemory CreateMemory(Parameter parameter) => new GradientDescent().CreateMemory(parameter);
    }
}
