namespace NestedLearning.CommandLine;

/// <summary>A case file or an argument that cannot be used; the message is for the user.</summary>
internal sealed class CaseException : Exception
{
    public CaseException(string message)
        : base(message)
    {
    }

    public CaseException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }

    public CaseException()
    {
    }
}
