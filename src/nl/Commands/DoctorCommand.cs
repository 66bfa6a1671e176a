using System.Collections;
using System.CommandLine;
using System.Diagnostics;
using System.Runtime.InteropServices;
using NestedLearning.Gpu;
using NestedLearning.Gpu.Cuda;
using Spectre.Console;

namespace NestedLearning.CommandLine.Commands;

/// <summary><c>nl doctor</c>: what operations would run on here, and why other backends were passed over.</summary>
internal static class DoctorCommand
{
    public static Command Create()
    {
        var ptx = new Option<string?>("--ptx")
        {
            Description = "Instead write the PTX of every GPU kernel into a folder.",
            HelpName = "folder", Hidden = true
        };
        var command = new Command("doctor", "Show which backends work here, and why others do not.") { ptx };
        command.SetAction(parse =>
            parse.GetValue(ptx) is { } folder ? WritePtx(folder, parse.InvocationConfiguration.Output) : Run(Terminal.Output(parse)));
        return command;
    }

    private static int WritePtx(string folder, TextWriter output)
    {
        output.WriteLine($"{CompiledKernels.WritePtx(folder)} files of PTX in {folder}");
        return ExitStatus.Success;
    }

    private static int Run(IAnsiConsole console)
    {
        using Device? device = Open(out ArgumentException? refusal);
        Report(console, device);
        return refusal is null ? ExitStatus.Success : throw refusal;
    }

    // A setting that cannot be had is an error, but only after what helps to mend it.
    private static Device? Open(out ArgumentException? refusal)
    {
        try
        {
            refusal = null;
            return Device.Open();
        }
        catch (ArgumentException e)
        {
            refusal = e;
            return null;
        }
    }

    private static void Report(IAnsiConsole console, Device? device)
    {
        Table backends = Terminal.Table(console, "backend", "state", "detail");
        foreach (BackendReport report in Device.Probe())
        {
            (string state, Color color) = report.Name == device?.Name ? ("chosen", Color.Green)
                : report.Available ? ("available", Color.Default)
                : ("passed over", Color.Yellow);
            backends.AddRow(new Text(report.Name), new Text(state, new Style(color)), new Text(report.Detail));
        }

        console.Write(backends);

        Table facts = Terminal.Table(console, "", "").HideHeaders();
        Add("runs on", device is null ? "nothing" : $"{device.Name}, {device.Description}");
        if (device is not null)
            Add("threads", $"{device.Threads} of {Environment.ProcessorCount} processors");
        Add("native library", NativeLibraryPath() ?? "not loaded");
        Add("CUDA kernels", CudaModules.DescribeBuild());
        Add("system", $"{RuntimeInformation.OSDescription}, {RuntimeInformation.OSArchitecture}");
        Add("runtime", $"{RuntimeInformation.FrameworkDescription}, {RuntimeInformation.RuntimeIdentifier}");
        Add("program", $"{typeof(DoctorCommand).Assembly.GetName().Version?.ToString(3)}, {AppContext.BaseDirectory}");
        foreach (DictionaryEntry variable in Environment.GetEnvironmentVariables())
        {
            if (variable.Key is string name && name.StartsWith("NESTED_LEARNING_", StringComparison.Ordinal))
                Add(name, variable.Value as string ?? "");
        }

        console.Write(facts);

        void Add(string name, string value) => facts.AddRow(new Text(name), new Text(value));
    }

    // Asked of the system, so that it is the file in use and not the one that was meant.
    private static string? NativeLibraryPath()
    {
        using var process = Process.GetCurrentProcess();
        return process.Modules.Cast<ProcessModule>().Select(m => m.FileName)
            .FirstOrDefault(path => Path.GetFileNameWithoutExtension(path) is "nested_learning" or "libnested_learning");
    }
}
