using System.CommandLine;
using NestedLearning.CommandLine.Bench;

namespace NestedLearning.CommandLine.Commands;

/// <summary><c>nl bench [CASE…]</c>: how fast the operations are here, and how far from what the machine can do.</summary>
internal static class BenchCommand
{
    // Some twenty-five cases, two minutes in all.
    private static readonly TimeSpan s_budget = TimeSpan.FromSeconds(3);

    // Measured in rounds with something else between them.
    private static readonly TimeSpan s_budgetOfLarge = TimeSpan.FromSeconds(1);

    public static Command Create()
    {
        var names = new Argument<string[]>("case")
        {
            Description = "Which to measure. Default: all of " + string.Join(", ", BenchCase.All.Select(c => c.Name)) + ".",
            Arity = ArgumentArity.ZeroOrMore,
        };
        var json = new Option<bool>("--json")
        {
            Description = "One JSON object a line: name, threads, median_ms, gflops, gbs, tokens_per_s or bytes_per_s, share_of_floor; "
                + "ordinary_ms and ratio of a case that has a twin on ordinary numbers.",
        };
        var large = new Option<bool>("--large")
        {
            Description = "Cases of a GPU's size instead: " + string.Join(", ", LargeCases.All(1).Select(c => c.Name))
            + ". A floor is then that of bytes at a copy's rate.",
        };
        var scale = new Option<int>("--scale")
        {
            Description = "Divides the tokens, parameters and sides of matrices of large cases.", HelpName = "divisor",
            DefaultValueFactory = _ => 1,
        };
        var tensorCores = new Option<bool>("--tensor-cores")
        {
            Description = "Measure large cases with products once more, where the device may round their operands to bfloat16.",
        };
        var device = new DeviceOptions();
        var command = new Command("bench", "Measure operations, each as a share of what this machine's arithmetic and memory allow.")
        {
            names, json, large, scale, tensorCores,
        };
        device.AddTo(command);
        command.SetAction(parse =>
        {
            string[] asked = parse.GetValue(names) ?? [];
            if (parse.GetValue(scale) is < 1 or > LargeCases.MaxScale)
                throw new CaseException($"--scale is {parse.GetValue(scale)}, expected 1 to {LargeCases.MaxScale}.");
            IReadOnlyList<BenchCase> known = parse.GetValue(large) ? LargeCases.All(parse.GetValue(scale)) : BenchCase.All;
            IReadOnlyList<BenchCase> cases = asked.Length == 0 ? known : [.. asked.Select(name => BenchCase.Find(name, known))];
            using Device opened = device.Open(parse);
            TensorCores[] roundings = parse.GetValue(tensorCores) ? [TensorCores.None, TensorCores.BFloat16] : [TensorCores.None];
            Run(cases, opened, parse.GetValue(json), parse.GetValue(large) ? s_budgetOfLarge : s_budget,
                parse.InvocationConfiguration.Output, roundings);
            return ExitStatus.Success;
        });
        return command;
    }

    /// <summary>Measures cases, each within about a budget of time, and writes each as soon as it is known.</summary>
    internal static void Run(IReadOnlyList<BenchCase> cases, Device device, bool json, TimeSpan budget, TextWriter output,
        params ReadOnlySpan<TensorCores> roundings)
    {
        int threads = device.Threads;
        MachineLimits limits = MachineLimits.Measure(device);
        MachineLimits? limitsOfOneThread = threads == 1 ? limits : null;
        if (!json)
        {
            output.WriteLine($"{device.Name} ({device.Description}), threads: {device.Threads}");
            output.WriteLine($"machine: {limits}");
            output.WriteLine($"{"case",-22} {"threads",7} {"median ms",12} {"rate",9} {"",-8}{"of floor",8}  work");
        }

        using Tensor waited = device.Zeros([1]);
        foreach (BenchCase measured in cases)
        {
            using var tensors = new BenchTensors(device);
            Action run = measured.Prepare(tensors);
            foreach (TensorCores rounding in measured.HasProducts && !roundings.IsEmpty ? roundings : [TensorCores.None])
            {
                device.TensorCores = rounding;
                if (measured.AlsoOnOneThread && threads > 1)
                {
                    device.Threads = 1;
                    Report(measured, run, limitsOfOneThread ??= MachineLimits.Measure(device));
                    device.Threads = threads;
                }

                Report(measured, run, limits);
            }
        }

        void Report(BenchCase measured, Action run, MachineLimits limits)
        {
            (double median, double? twin) = Time(measured, run);
            var result = new BenchResult(measured, device.Threads, median, limits)
            {
                TensorCores = device.TensorCores, TwinMilliseconds = twin,
            };
            output.WriteLine(json ? result.ToJson() : result.ToString());
        }

        (double Milliseconds, double? OfTwin) Time(BenchCase measured, Action run)
        {
            Action? wait = BenchTimer.WaitFor(waited);
            if (measured.Twin is null)
                return (BenchTimer.Median(run, budget, wait), null);
            using var tensors = new BenchTensors(device);
            return BenchTimer.Medians(run, measured.Twin(tensors), budget, wait);
        }
    }
}
