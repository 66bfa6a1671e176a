using System.Globalization;
using NestedLearning.Models;
using Xunit;

namespace NestedLearning.CommandLine.Tests;

/// <summary>Numbers are written alike wherever the program runs.</summary>
public sealed class CultureTests
{
    // What numbers look like in German, with a longer minus; the runtime here has no cultures but the invariant one.
    private static CultureInfo German
    {
        get
        {
            var culture = (CultureInfo)CultureInfo.InvariantCulture.Clone();
            culture.NumberFormat.NumberDecimalSeparator = ",";
            culture.NumberFormat.NumberGroupSeparator = ".";
            culture.NumberFormat.PercentDecimalSeparator = ",";
            culture.NumberFormat.NegativeSign = "−";
            return culture;
        }
    }

    [Fact]
    public void Culture_IsAnother() => Assert.Equal("−0,5", In(German, () => $"{-0.5}"));

    [Fact]
    public void Rules_DoNotDependOnTheCulture()
    {
        var rules = new List<Func<string>>();
        foreach (Type type in typeof(Optimizer).Assembly.GetTypes().Where(t => t.IsPublic && !t.IsAbstract && t != typeof(OptimizerRules)))
        {
            if (type.IsAssignableTo(typeof(Optimizer)))
                rules.Add(() => Changed<Optimizer>(type).Rule);
            else if (type.IsAssignableTo(typeof(Preconditioner)))
                rules.Add(() => Changed<Preconditioner>(type).Rule);
        }

        rules.AddRange(NamedOptimizers.Names.Select(name => (Func<string>)(() => NamedOptimizers.Create(name).Rule)));
        rules.Add(() => new DeltaMomentum { Preconditioner = new MatrixPreconditioner { Decay = -0.5 } }.Rule);
        Assert.True(rules.Count > 20, $"{rules.Count} rules were found.");
        foreach (Func<string> rule in rules)
            Assert.Equal(In(CultureInfo.InvariantCulture, rule), In(German, rule));
    }

    public static TheoryData<string> Models => [.. ModelConfiguration.Presets.Select(p => p.Name)];

    [Theory]
    [MemberData(nameof(Models))]
    public void Descriptions_DoNotDependOnTheCulture(string name)
    {
        ModelConfiguration configuration = ModelConfiguration.Presets.Single(p => p.Name == name).Configuration with
        {
            EtaScale = 0.125f,
            EtaBias = -0.5f,
            AlphaBias = -1234.5f,
        };
        using Device device = Device.Open("managed");
        string[] Rules()
        {
            using var model = new SequenceModel(device, configuration);
            return [.. model.Describe().Memories.SelectMany(m => (string[])[m.Name, m.Memory, m.ContextFlow, m.Rule])];
        }

        Assert.Equal(In(CultureInfo.InvariantCulture, Rules), In(German, Rules));
    }

    public static TheoryData<string> Commands =>
        [.. ModelConfiguration.Presets.SelectMany(p => (string[])[$"describe {p.Name}", $"describe {p.Name} --json"]),
            "describe hope --context -1", "op nowhere --out x", "learn --help", "describe hope --batch 3"];

    [Theory]
    [MemberData(nameof(Commands))]
    public void Output_DoesNotDependOnTheCulture(string command)
    {
        CommandLineRun Run() => CommandLineRun.Of(command.Split(' '));
        CommandLineRun expected = In(CultureInfo.InvariantCulture, Run), actual = In(German, Run);
        Assert.Equal(expected, actual);
    }

    private static T Changed<T>(Type type)
    {
        object made = Activator.CreateInstance(type)!;
        foreach (var property in type.GetProperties().Where(p => p.CanWrite))
        {
            if (property.PropertyType == typeof(float))
                property.SetValue(made, -0.125f);
            else if (property.PropertyType == typeof(double))
                property.SetValue(made, -1.25e-9);
            else if (property.PropertyType == typeof(int))
                property.SetValue(made, -1234);
        }

        return (T)made;
    }

    private static T In<T>(CultureInfo culture, Func<T> make)
    {
        CultureInfo before = CultureInfo.CurrentCulture;
        try
        {
            CultureInfo.CurrentCulture = culture;
            return make();
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }
}
