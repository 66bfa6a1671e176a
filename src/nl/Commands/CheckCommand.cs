using System.CommandLine;
using System.Globalization;
using NestedLearning.CommandLine.Operations;
using Spectre.Console;

namespace NestedLearning.CommandLine.Commands;

/// <summary>
/// <c>nl check FILES…</c>: runs cases that carry their expected results and prints the largest error of each tensor.
/// </summary>
internal static class CheckCommand
{
    public static Command Create()
    {
        var files = new Argument<string[]>("files")
        {
            Description = "Cases with in.* and out.*: files, folders of them, or patterns such as golden/scan-*.safetensors.",
            Arity = ArgumentArity.OneOrMore,
        };
        var skip = new Option<bool>("--skip-unsupported") { Description = "Do not fail on an operation that this program lacks." };
        var device = new DeviceOptions();
        var command = new Command("check", "Compare operations with the expected results in safetensors files.") { files, skip };
        device.AddTo(command);
        command.SetAction(parse =>
        {
            using Device opened = device.Open(parse);
            return Run(parse, CaseFile.Find(parse.GetRequiredValue(files)), opened, parse.GetValue(skip));
        });
        return command;
    }

    private static int Run(ParseResult parse, IReadOnlyList<string> paths, Device device, bool skipUnsupported)
    {
        IAnsiConsole console = Terminal.Output(parse);
        Table table = Terminal.Table(console, "case", "op", "tensor", "shape", "largest error", "tolerance", "");
        int passed = 0, failed = 0, unsupported = 0, unreadable = 0;
        foreach (string path in paths)
        {
            try
            {
                SafetensorsFile file = CaseFile.Load(path);
                if (CaseFile.Operation(path, file) is not { } operation)
                {
                    table.AddRow(Cells(Name(path), OperationRun.OperationName(file), "", "", "", "", "not supported"));
                    unsupported++;
                    continue;
                }

                if (Check(table, path, operation, file, device))
                    passed++;
                else
                    failed++;
            }
            catch (CaseException e)
            {
                parse.InvocationConfiguration.Error.WriteLine($"nl: {Program.Describe(e)}");
                unreadable++;
            }
        }

        if (table.Rows.Count > 0)
            console.Write(table);
        parse.InvocationConfiguration.Output.WriteLine(
            $"{paths.Count} cases on {device.Name} ({device.Description}): {passed} passed, {failed} over tolerance, {unsupported} not " +
            $"supported, {unreadable} not usable.");
        if (unreadable > 0)
            return ExitStatus.BadInput;
        return failed > 0 || (unsupported > 0 && !skipUnsupported) ? ExitStatus.Failed : ExitStatus.Success;
    }

    private static bool Check(Table table, string path, Operation operation, SafetensorsFile file, Device device)
    {
        string[] expected = [.. file.Names.Where(n => n.StartsWith(OperationRun.OutputPrefix, StringComparison.Ordinal))];
        if (expected.Length == 0)
            throw new CaseException($"{path}: the case has no expected results {OperationRun.OutputPrefix}*.");
        SafetensorsFile results = CaseFile.Execute(path, operation, file, device);
        foreach (string tensor in expected)
        {
            if (!results.Contains(tensor))
                throw new CaseException($"{path}: {operation.Name} gives no '{tensor}'; it gives {string.Join(", ", results.Names)}.");
            if (results.ShapeOf(tensor) != file.ShapeOf(tensor))
                throw new CaseException($"{path}: '{tensor}' has shape {file.ShapeOf(tensor)}, {operation.Name} gives " +
                    $"{results.ShapeOf(tensor)}.");
        }

        bool good = true;
        foreach (string tensor in expected)
        {
            double error = TensorError.Relative(results.Floats(tensor), file.Floats(tensor));
            bool within = error <= operation.Tolerance;
            good &= within;
            table.AddRow(Cells(
                Name(path), operation.Name, tensor, file.ShapeOf(tensor).ToString(), Scientific(error), Scientific(operation.Tolerance),
                within ? "ok" : "OVER"));
        }

        return good;
    }

    private static string Name(string path) => Path.GetFileNameWithoutExtension(path);

    private static string Scientific(double value) => value.ToString("0.0e+00", CultureInfo.InvariantCulture);

    private static Text[] Cells(params string[] cells) =>
        [.. cells.Select(c => new Text(c, c == "OVER" ? new Style(Color.Red) : c == "ok" ? new Style(Color.Green) : Style.Plain))];
}
