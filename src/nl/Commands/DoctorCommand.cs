using System.CommandLine;

namespace NestedLearning.CommandLine.Commands;

internal static class DoctorCommand
{
    public static Command Create()
    {
        var command = new Command("doctor", "");
        command.SetAction(_ => ExitStatus.Success);
        return command;
    }
}
