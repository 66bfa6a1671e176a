using System.Text.Json;
using System.Text.Json.Serialization;
using NestedLearning.Models;
using NestedLearning.Models.Continual;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>The learners that are compared.</summary>
internal enum LearnerKind
{
    /// <summary>Hope, every level of its continuum memory system committing at its own frequency.</summary>
    Hope,

    /// <summary>The same with one level.</summary>
    OneLevel,

    /// <summary>One level over a slow level of slots that keep its weights.</summary>
    Slots,

    /// <summary>Hope whose levels stop committing after the first phase.</summary>
    Frozen,
}

/// <summary>What the command line and the tables call the learners.</summary>
internal static class LearnerKinds
{
    public static IReadOnlyList<LearnerKind> All { get; } = [LearnerKind.Hope, LearnerKind.OneLevel, LearnerKind.Frozen, LearnerKind.Slots];

    /// <summary>The name in options, checkpoints and JSON.</summary>
    public static string Id(this LearnerKind kind) => kind switch
    {
        LearnerKind.Hope => "hope",
        LearnerKind.OneLevel => "one-level",
        LearnerKind.Slots => "slots",
        LearnerKind.Frozen => "frozen",
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, null),
    };

    /// <summary>The name in tables and charts.</summary>
    public static string Title(this LearnerKind kind) => kind switch
    {
        LearnerKind.Hope => "Hope online",
        LearnerKind.OneLevel => "one level",
        LearnerKind.Slots => "one level and slots",
        LearnerKind.Frozen => "Hope frozen",
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, null),
    };

    public static LearnerKind Parse(string id)
    {
        foreach (LearnerKind kind in All)
        {
            if (kind.Id() == id)
                return kind;
        }

        throw new StreamException($"There is no learner '{id}'; known are {string.Join(", ", All.Select(Id))}.");
    }
}

/// <summary>Makes learners, all on one device.</summary>
internal interface ILearnerFactory : IDisposable
{
    /// <summary>The device's name, such as <c>cpu</c>.</summary>
    string DeviceName { get; }

    /// <summary>What runs the kernels.</summary>
    string DeviceDescription { get; }

    /// <summary>Of the initial weights.</summary>
    ulong Seed { get; }

    /// <summary>Everything about the models that decides results, as text: a checkpoint of another configuration is refused.</summary>
    string Configuration { get; }

    /// <summary>How many learners may compute at the same time.</summary>
    int AtOnce { get; }

    /// <summary>
    /// Shares the device's threads out among the learners that compute from now on. Called from any thread, also while
    /// learners compute: what they compute does not depend on it.
    /// </summary>
    /// <param name="learners">How many they are, 1 to <see cref="AtOnce"/>.</param>
    void ShareThreads(int learners);

    /// <summary>A learner that has read nothing. <see cref="LearnerKind.Frozen"/> is made as <see cref="LearnerKind.Hope"/> is.</summary>
    IStreamLearner Create(LearnerKind kind);
}

/// <summary>Makes the models of the library.</summary>
internal sealed class LearnerFactory : ILearnerFactory
{
    private static readonly JsonSerializerOptions s_json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase, Converters = { new JsonStringEnumConverter() },
    };
    private static readonly SlotSettings s_slots = new();
    private readonly Device _device;
    private readonly ModelConfiguration _configuration;
    private readonly int _threads;

    /// <param name="device">Owned from here on.</param>
    /// <param name="seed">Of the initial weights.</param>
    /// <param name="learners">How many learners there will be; the device's threads are shared among them.</param>
    public LearnerFactory(Device device, ulong seed, int learners)
    {
        _device = device;
        Seed = seed;
        _configuration = new ModelConfiguration { Seed = seed };
        Configuration = JsonSerializer.Serialize(new { Model = _configuration, Slots = s_slots }, s_json);
        // Memory of the host is safe to use from several threads; other devices have one queue.
        _threads = device.Threads;
        AtOnce = device.Backend.RunsOnHost ? Math.Min(_threads, learners) : 1;
        ShareThreads(AtOnce);
    }

    public string DeviceName => _device.Name;

    public string DeviceDescription => _device.Description;

    public ulong Seed { get; }

    public string Configuration { get; }

    public int AtOnce { get; }

    public void ShareThreads(int learners) => _device.Threads = Math.Max(1, _threads / learners);

    public IStreamLearner Create(LearnerKind kind) => kind switch
    {
        LearnerKind.Slots => SlotLearner.Create(_device, _configuration.WithOneLevel(), s_slots, kind.Title()),
        LearnerKind.OneLevel => StreamLearner.Create(_device, _configuration.WithOneLevel(), kind.Title()),
        _ => StreamLearner.Create(_device, _configuration, kind.Title()),
    };

    public void Dispose() => _device.Dispose();
}
