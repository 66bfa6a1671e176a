using System.CommandLine;
using NestedLearning.CommandLine.Bench;

namespace NestedLearning.CommandLine.Commands;

/// <summary><c>nl bench [CASE…]</c>: how fast the operations are here, and how far from what the machine can do.</summary>
internal static class BenchCommand
{
    // Fifteen cases, a minute in all.
    private static readonly TimeSpan s_budget = TimeSpan.FromSeconds(3);

    public static Command Create()
    {
        var names = new Argument<string[]>("case")
        {
            Description = "Which to measure. Default: all of " + string.Join(", ", BenchCase.All.Select(c => c.Name)) + ".",
            Arity = ArgumentArity.ZeroOrMore,
        };
        var json = new Option<bool>("--json") { Description = "One JSON object a line: name, threads, median_ms, gflops or gbs, share_of_floor." };
        var device = new DeviceOptions();
        var command = new Command("bench", "Measure operations, each as a share of what this machine's arithmetic and memory allow.") { names, json };
        device.AddTo(command);
        command.SetAction(parse =>
        {
            string[] asked = parse.GetValue(names) ?? [];
            IReadOnlyList<BenchCase> cases = asked.Length == 0 ? BenchCase.All : [.. asked.Select(BenchCase.Find)];
            using Device opened = device.Open(parse);
            Run(cases, opened, parse.GetValue(json), s_budget, parse.InvocationConfiguration.Output);
            return ExitStatus.Success;
        });
        return command;
    }

    /// <summary>Measures cases, each within about a budget of time, and writes each as soon as it is known.</summary>
    internal static void Run(IReadOnlyList<BenchCase> cases, Device device, bool json, TimeSpan budget, TextWriter output)
    {
        MachineLimits limits = MachineLimits.Measure(device);
        if (!json)
        {
            output.WriteLine($"{device.Name} ({device.Description}), threads: {device.Threads}");
            output.WriteLine(FormattableString.Invariant($"machine: {limits.Gflops:F0} GFLOP/s (float32), {limits.GigabytesPerSecond:F1} GB/s (seven streams)"));
            output.WriteLine($"{"case",-22} {"threads",7} {"median ms",12} {"rate",9} {"",-7} {"of floor",8}  work");
        }

        foreach (BenchCase measured in cases)
        {
            using var tensors = new BenchTensors(device);
            var result = new BenchResult(measured, device.Threads, BenchTimer.Median(measured.Prepare(tensors), budget), limits);
            output.WriteLine(json ? result.ToJson() : result.ToString());
        }
    }
}
