using NestedLearning.Models;

namespace NestedLearning.Reliability.Fuzzing;

/// <summary>A learner from its checkpoint, with the configuration in it.</summary>
internal sealed class CheckpointTarget : SafetensorsTarget
{
    private readonly Lazy<Device> _device = new(() => Device.Open("managed"));

    public override string Name => "checkpoint";

    public override IReadOnlyList<string> Words { get; } =
    [
        .. typeof(ModelConfiguration).GetProperties().Select(p => $"\\\"{char.ToLowerInvariant(p.Name[0])}{p.Name[1..]}\\\":"), "null",
        "true", "9", "\\\"", "{", "}", "[", "]", "levels.", "state.", "stream", "Infinity", "NaN",
    ];

    public override IEnumerable<byte[]> Seeds()
    {
        ModelConfiguration configuration = ModelConfiguration.Hope with
        {
            Dim = 4,
            Heads = 1,
            Blocks = 1,
            Levels = [.. ModelConfiguration.Hope.Levels.Select(level => level with { Hidden = 4 })],
        };
        Optimizer matrices = new DeepMomentum { Hidden = 2, Preconditioner = new MatrixPreconditioner() };
        ModelConfiguration other = configuration with
        {
            Levels = [configuration.Levels[0] with { Optimizer = OptimizerRules.ByShape(matrices, new Momentum()) },
                .. configuration.Levels.Skip(1)],
        };
        return [.. new[] { configuration, other }.Select(Seed)];
    }

    private byte[] Seed(ModelConfiguration configuration)
    {
        using StreamLearner learner = StreamLearner.Create(_device.Value, configuration, "seed");
        return Checkpoint.Of(learner);
    }

    // A model of the configuration is made and thrown away.
    public override long MayAllocate(int length) => 256L << 20;

    // What a device once took it keeps until it is trimmed, so that this is the most that was in use at a time.
    public override long DeviceBytes()
    {
        long bytes = _device.Value.AllocatedBytes;
        _device.Value.Trim();
        return bytes;
    }

    private protected override void Use(SafetensorsFile file) => StreamLearner.Load(_device.Value, file, "", "input").Dispose();
}
