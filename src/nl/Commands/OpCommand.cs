using System.CommandLine;
using NestedLearning.CommandLine.Operations;

namespace NestedLearning.CommandLine.Commands;

/// <summary>
/// <c>nl op CASE.safetensors --out RESULT.safetensors</c>: one operation on the tensors <c>in.*</c> of a file written by
/// any language; the results are <c>out.*</c> of another.
/// </summary>
internal static class OpCommand
{
    public static Command Create()
    {
        var file = new Argument<string>("case") { Description = "Inputs in.*, the operation and its settings in the metadata." };
        var result = new Option<string>("--out")
        {
            Description = "Where the results out.* go.",
            HelpName = "file",
            Required = true,
        };
        var device = new DeviceOptions();
        var command = new Command("op", "Run one operation on tensors from a safetensors file.") { file, result };
        device.AddTo(command);
        command.SetAction(parse =>
        {
            Run(parse.GetRequiredValue(file), parse.GetRequiredValue(result), () => device.Open(parse));
            return ExitStatus.Success;
        });
        return command;
    }

    private static void Run(string casePath, string resultPath, Func<Device> open)
    {
        SafetensorsFile file = CaseFile.Load(casePath);
        Operation operation = CaseFile.Operation(casePath, file)
            ?? throw new CaseException(
                $"{casePath}: there is no operation '{OperationRun.OperationName(file)}'; known are " +
                $"{string.Join(", ", Operation.All.Select(o => o.Name))}.");
        if (SafeFile.AreSame(casePath, resultPath))
            throw new CaseException($"--out {resultPath} is the case itself, expected another file.");
        using Device device = open();
        SafetensorsFile results = CaseFile.Execute(casePath, operation, file, device);
        try
        {
            results.Save(resultPath);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CaseException($"{resultPath}: {e.Message}", e);
        }
    }
}
