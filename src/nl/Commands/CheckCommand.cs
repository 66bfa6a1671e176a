using System.CommandLine;

namespace NestedLearning.CommandLine.Commands;

internal static class CheckCommand
{
    public static Command Create()
    {
        var command = new Command("check", "");
        command.SetAction(_ => ExitStatus.Success);
        return command;
    }
}
