using NestedLearning.CommandLine.Streaming;
using NestedLearning.Models;
using NestedLearning.Models.Continual;

namespace NestedLearning.CommandLine.Continual;

/// <summary>A way of learning from a stream of phases, with the one number of it that is searched for.</summary>
/// <param name="Id">As the command line spells it.</param>
/// <param name="Title">The name in tables.</param>
/// <param name="Searched">What the number is.</param>
/// <param name="Middle">Where the search begins.</param>
/// <param name="Factor">From one value of the search's grid to the next.</param>
/// <param name="UsesOneLevelsRate">Whether the rate is the one found for one level, and the number another.</param>
internal sealed record Strategy(string Id, string Title, string Searched, double Middle, double Factor, bool UsesOneLevelsRate = false)
{
    /// <summary>Bytes between anchors of weights and between commits to slots.</summary>
    private const int Period = 40 * 1024;

    /// <summary>One level at the fastest level's frequency: plain fine-tuning on the stream.</summary>
    public static Strategy OneLevel { get; } = new("one-level", "one level", "rate", 1e-3, 2);

    /// <summary>As many slots as there are languages: with one fewer the least distinct would be lost.</summary>
    public static SlotSettings DefaultSlots { get; } = new() { Slots = 4, Period = Period };

    /// <summary>In the order of tables.</summary>
    public static IReadOnlyList<Strategy> All { get; } =
    [
        OneLevel,
        new("hope", "Hope, three levels", "rate of all levels", 1e-3, 2),
        new("replay", "replay of 1 %", "rate", 1e-3, 2),
        new("ewc", "online EWC", "strength", 1e3, 10, UsesOneLevelsRate: true),
        new("si", "synaptic intelligence", "strength", 0.3, 10, UsesOneLevelsRate: true),
        new("slots-small", "slots, same size in all", "rate", 1e-3, 2),
        new("slots", "slots, same live size", "rate", 1e-3, 2),
    ];

    public static string Names => string.Join(", ", All.Select(s => s.Id));

    /// <exception cref="StreamException">There is none of that name.</exception>
    public static Strategy Parse(string id) =>
        All.FirstOrDefault(s => s.Id == id) ?? throw new StreamException($"There is no strategy '{id}'; known are {Names}.");

    /// <summary>A learner at the beginning of its stream.</summary>
    /// <param name="device">Where it lives.</param>
    /// <param name="value">The number searched for.</param>
    /// <param name="rate">The rate, where that is another number.</param>
    /// <param name="stream">What it will read.</param>
    /// <param name="seed">Of its initial weights.</param>
    /// <param name="settings">The width of a model that is alone, and slots.</param>
    public IStreamLearner Create(Device device, double value, double rate, PhaseStream stream, ulong seed, ContinualSettings settings)
    {
        ModelConfiguration hope = OfWidth(new ModelConfiguration { Seed = seed }, settings.Dim);
        ModelConfiguration oneLevel = WithRate(hope.WithOneLevel(), UsesOneLevelsRate ? rate : value);
        return Id switch
        {
            "hope" => StreamLearner.Create(device, WithRate(hope, value), Title),
            "replay" => StrategyLearner.Create(device, oneLevel,
                new Replay((int)Math.Max(1, stream.Length / 100 / oneLevel.Levels[0].Chunk), weight: 1, seed), Title),
            "ewc" => StrategyLearner.Create(device, oneLevel, new ElasticWeightConsolidation(value, Period), Title),
            "si" => StrategyLearner.Create(device, oneLevel, new SynapticIntelligence(value, Period), Title),
            "slots" => SlotLearner.Create(device, oneLevel, settings.Slots, Title),
            "slots-small" => SlotLearner.Create(device, Small(oneLevel), settings.Slots, Title),
            _ => StreamLearner.Create(device, oneLevel, Title),
        };
    }

    // Live learner and four slots together have a little less than the parameters of one level alone.
    private static ModelConfiguration Small(ModelConfiguration configuration) => configuration with
    {
        Dim = configuration.Dim / 2,
        Levels = [configuration.Levels[0] with { Hidden = configuration.Dim * 5 / 4 }],
    };

    private static ModelConfiguration OfWidth(ModelConfiguration configuration, int dim) => configuration with
    {
        Dim = dim,
        Levels = [.. configuration.Levels.Select(l => l with { Hidden = l.Hidden * dim / configuration.Dim })],
    };

    private static ModelConfiguration WithRate(ModelConfiguration configuration, double rate) =>
        configuration with { Levels = [.. configuration.Levels.Select(l => l with { LearningRate = (float)rate })] };
}
