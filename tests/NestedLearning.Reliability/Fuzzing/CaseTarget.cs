using NestedLearning.CommandLine;
using NestedLearning.CommandLine.Operations;

namespace NestedLearning.Reliability.Fuzzing;

/// <summary><c>nl op</c>: the case of any operation, run on a device.</summary>
internal sealed class CaseTarget(string device) : SafetensorsTarget
{
    // Tensors without elements may have axes of any length, and so results of any size, which is what was asked for.
    private const int LongestAxis = 64;

    private readonly Lazy<Device> _device = new(() =>
    {
        var opened = Device.Open(device);
        opened.Threads = 1;
        return opened;
    });

    public override string Name => "case-" + device;

    public override IReadOnlyList<string> Words { get; } =
        [
        .. Operation.All.Select(o => o.Name), "true", "false", "null", "\"chunk\":\"4\"", "\"phase\":\"1\"", "in.", "out.", "before",
        "after", "l2",
    ];

    public override bool IsRefusal(Exception error) =>
        error is CaseException or CheckpointException or ArgumentException or NotFiniteNumberException;

    // Results, scratch and gradients.
    public override long MayAllocate(int length) => 64L << 20;

    private protected override void Use(SafetensorsFile file)
    {
        foreach (string name in file.Names)
        {
            Shape shape = file.ShapeOf(name);
            for (int axis = 0; axis < shape.Rank; axis++)
            {
                if (shape[axis] > LongestAxis)
                    return;
            }
        }

        if (Operation.Find(OperationRun.OperationName(file)) is { } operation)
            OperationRun.Execute(operation, file, _device.Value);
    }
}
