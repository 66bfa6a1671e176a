using System.CommandLine;

namespace NestedLearning.CommandLine.Commands;

internal static class OpCommand
{
    public static Command Create()
    {
        var command = new Command("op", "");
        command.SetAction(_ => ExitStatus.Success);
        return command;
    }
}
