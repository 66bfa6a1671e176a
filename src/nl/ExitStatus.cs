namespace NestedLearning.CommandLine;

/// <summary>What the process returns.</summary>
internal static class ExitStatus
{
    public const int Success = 0;

    /// <summary>The command ran and found a failure: an error over its tolerance, an operation it lacks.</summary>
    public const int Failed = 1;

    /// <summary>The command could not run: wrong arguments, an unreadable file, a missing backend.</summary>
    public const int BadInput = 2;

    /// <summary>Ctrl-C or a request to terminate stopped the command, as a shell reports it for Ctrl-C.</summary>
    public const int Interrupted = 130;
}
