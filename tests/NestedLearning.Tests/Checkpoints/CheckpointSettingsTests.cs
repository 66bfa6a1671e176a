using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>What a checkpoint of levels says of their settings, and what it is compared with.</summary>
public sealed class CheckpointSettingsTests : IDisposable
{
    private readonly Device _device = Device.Open("managed");

    /// <summary>Every class of optimizers and preconditioners of the library, and every setting of each.</summary>
    public static TheoryData<string, string> Settings => [.. from type in typeof(Optimizer).Assembly.GetTypes()
                                                             where !type.IsAbstract && type.IsPublic && type != typeof(OptimizerRules)
                                                             where type.IsAssignableTo(typeof(Optimizer))
                                                                 || type.IsAssignableTo(typeof(Preconditioner))
                                                             from setting in (string[])["", .. SettingsOf(type).Select(p => p.Name)]
                                                             select new TheoryDataRow<string, string>(type.Name, setting)];

    public void Dispose() => _device.Dispose();

    [Theory]
    [MemberData(nameof(Settings))]
    public void EverySettingOfAnOptimizer_IsWrittenAndReadAgain(string type, string setting)
    {
        object before = Make(type);
        object after = Make(type);
        if (setting.Length > 0)
        {
            PropertyInfo property = after.GetType().GetProperty(setting)!;
            property.SetValue(after, Another(property.GetValue(after)!));
        }

        JsonNode written = OptimizerJson.Write(Optimizer(after));
        SortedDictionary<string, string> old = CheckpointSettings.Flatten(OptimizerJson.Write(Optimizer(before))),
            flat = CheckpointSettings.Flatten(written);
        Assert.Equal(setting.Length == 0, old.SequenceEqual(flat));
        if (setting.Length > 0)
            Assert.Contains(flat.Keys, k => $".{k}.".Contains($".{setting}.", StringComparison.Ordinal));

        Optimizer read = JsonSerializer.Deserialize(written.ToJsonString(), OptimizerJson.Default.Optimizer)!;
        Assert.Equal(written.ToJsonString(), OptimizerJson.Write(read).ToJsonString());
        Assert.Equal(Optimizer(after).Rule, read.Rule);
    }

    [Fact]
    public void Rules_AreWrittenAndReadAgain()
    {
        OptimizerRules rules = OptimizerRules.ByShape(new Muon { UpdateRms = 0.3f }, new Adam { Seed = 9 }, ["head"]);
        string written = OptimizerJson.Write(rules).ToJsonString();
        var read = (OptimizerRules)JsonSerializer.Deserialize(written, OptimizerJson.Default.Optimizer)!;
        Assert.Equal(written, OptimizerJson.Write(read).ToJsonString());
        Assert.Equal(rules.Rule, read.Rule);
        using Parameter matrix = new("w", _device.Zeros([2, 2])), head = new("a.head", _device.Zeros([2, 2])),
            vector = new("b", _device.Zeros([2]));
        Assert.Equal([true, false, false], ((Parameter[])[matrix, head, vector]).Select(p => read.Rules[0].Applies(p)));

        // Which parameters a rule of somebody else's is for is code; it is compared by its words, and not made.
        var own = new OptimizerRules(new OptimizerRule("all", _ => true, new Adam()));
        string text = OptimizerJson.Write(own).ToJsonString();
        Assert.Contains("\"all\"", text, StringComparison.Ordinal);
        Assert.Throws<JsonException>(() => JsonSerializer.Deserialize(text, OptimizerJson.Default.Optimizer));
    }

    [Fact]
    public void EverySettingOfALevel_IsWritten()
    {
        string[] written = [.. LevelSettings.Of([Level("a", new Adam())])["Levels"]![0]!.AsObject().Select(f => f.Key)];
        string[] others = ["Memory", "ContextFlow", "Parameters", "Memories", "ParameterBytes", "StateBytes", "Commits", "Pending"];
        Assert.Equal(typeof(Level).GetProperties().Select(p => p.Name).Except(others).Append("Decays").Order(StringComparer.Ordinal),
            written.Order(StringComparer.Ordinal));
        Assert.Equal(["Chunks", "Pairs", "ResetsOptimizer"],
            typeof(LevelStart).GetProperties().Select(p => p.Name).Order(StringComparer.Ordinal));
    }

    public static TheoryData<string> LevelChanges =>
        ["Name", "Chunk", "LearningRate", "WarmupCommits", "Reduction", "ClipNorm", "Optimizer.Type", "Optimizer.Decay", "Decays", "Start"];

    [Theory]
    [MemberData(nameof(LevelChanges))]
    public void AnotherSettingOfALevel_IsRefusedByItsName(string setting)
    {
        using var first = new LevelSystem(Level("a", new Momentum()), Slow());
        var changed = setting switch
        {
            "Name" => Level("b", new Momentum()),
            "Chunk" => Level("a", new Momentum(), chunk: 3),
            "LearningRate" => Level("a", new Momentum(), rate: 0.25f),
            "WarmupCommits" => Level("a", new Momentum(), warmup: 1),
            "Reduction" => Level("a", new Momentum(), reduction: ErrorReduction.Mean),
            "ClipNorm" => Level("a", new Momentum(), clip: 2),
            // AdamW's m is of the same shape as Muon's and momentum's.
            "Optimizer.Type" => Level("a", new Muon()),
            "Optimizer.Decay" => Level("a", new Momentum { Decay = 0.5 }),
            "Decays" => Level("a", new Momentum(), decays: false),
            _ => Level("a", new Momentum()),
        };
        Level slow = Slow();
        if (setting == "Start")
            changed = Level("a", new Momentum(), start: slow.Parameters[0]);
        using var second = new LevelSystem(changed, slow);
        foreach ((LevelSystem from, LevelSystem to) in new[] { (first, second), (second, first) })
        {
            var file = new SafetensorsFile();
            from.Save(file, "x.");
            to.Levels[0].Parameters[0].Value.Fill(7);
            CheckpointException e = Assert.Throws<CheckpointException>(() => to.Load(file, "x."));
            Assert.Contains($"Levels[0].{setting}", e.Message, StringComparison.Ordinal);
            Assert.Equal(7, to.Levels[0].Parameters[0].Value.ToArray()[0]);
            if (setting is "Decays" or "Chunk" or "LearningRate")
            {
                to.Load(file, "x.", [setting]);
                Assert.NotEqual(7, to.Levels[0].Parameters[0].Value.ToArray()[0]);
            }

            from.Levels[0].Parameters[0].Value.Fill(3);
        }
    }

    [Fact]
    public void AllDifferences_AreNamedWithBothValues()
    {
        using LevelSystem first = new(Level("a", new Adam())), second = new(Level("a", new Adam { Beta2 = 0.5 }, rate: 0.25f));
        var file = new SafetensorsFile();
        first.Save(file, "");
        string message = Assert.Throws<CheckpointException>(() => second.Load(file, "")).Message;
        Assert.Contains("Levels[0].Optimizer.Beta2 is 0.999 in the file and 0.5 here", message, StringComparison.Ordinal);
        Assert.Contains("Levels[0].LearningRate is 0.5 in the file and 0.25 here", message, StringComparison.Ordinal);
    }

    private Level Slow() => new("slow", 6, 0.5f, new GradientDescent(), [new Parameter("s", _device.Zeros([2, 2]))]);

    private Level Level(string name, Optimizer optimizer, int chunk = 2, float rate = 0.5f, int warmup = 0,
        ErrorReduction reduction = ErrorReduction.Sum, double clip = double.PositiveInfinity, bool decays = true, Parameter? start = null)
    {
        var parameter = new Parameter("w", _device.Zeros([2, 2]), decays);
        return new Level(name, chunk, rate, optimizer, [parameter])
        {
            WarmupCommits = warmup, Reduction = reduction, ClipNorm = clip,
            Start = start is null ? null : new LevelStart([(parameter, start)], chunks: 3),
        };
    }

    private static object Make(string type) =>
        Activator.CreateInstance(typeof(Optimizer).Assembly.GetTypes().Single(t => t.Name == type && t.IsPublic))!;

    // A preconditioner is written with the optimizer that has it.
    private static Optimizer Optimizer(object value) => value as Optimizer ?? new DeltaMomentum { Preconditioner = (Preconditioner)value };

    private static IEnumerable<PropertyInfo> SettingsOf(Type type) =>
        type.GetProperties(BindingFlags.Instance | BindingFlags.Public).Where(p => p.CanWrite);

    private static object Another(object value) => value switch
    {
        bool b => !b,
        int n => n + 1,
        ulong n => n + 1,
        float x => x + 0.25f,
        double x => x == 0.5 ? 0.25 : 0.5,
        Enum => Enum.GetValues(value.GetType()).Cast<object>().First(v => !v.Equals(value)),
        Preconditioner => new MatrixPreconditioner { Period = 3 },
        FeatureMap => FeatureMap.Cubic,
        _ => throw new InvalidOperationException($"Of {value.GetType().Name} no other value is known."),
    };
}
