using System.CommandLine;

namespace NestedLearning.CommandLine.Commands;

/// <summary>The options of every command that computes: which backend, and how many threads.</summary>
internal sealed class DeviceOptions
{
    private readonly Option<string?> _device = new("--device")
    {
        Description = "Backend: " + string.Join(", ", Device.BackendNames) + ". Default: the best that works here.",
        HelpName = "name",
    };

    private readonly Option<int?> _threads = new("--threads")
    {
        Description = "Threads that operations may use. Default: one a processor. Results do not depend on it.",
        HelpName = "count",
    };

    public void AddTo(Command command)
    {
        command.Add(_device);
        command.Add(_threads);
    }

    /// <summary>Opens the device that was asked for. A missing backend is an error, never another backend.</summary>
    public Device Open(ParseResult parse)
    {
        int? threads = parse.GetValue(_threads);
        if (threads < 1)
            throw new CaseException($"--threads is {threads}, expected at least 1.");
        string? name = parse.GetValue(_device);
        Device device = name is null ? Device.Open() : Device.Open(name);
        if (threads is { } count)
            device.Threads = count;
        return device;
    }
}
