namespace NestedLearning;

/// <summary>A checkpoint cannot be read, or does not fit what it is loaded into.</summary>
public sealed class CheckpointException : Exception
{
    /// <summary>An exception with this message.</summary>
    public CheckpointException(string message)
        : base(message)
    {
    }

    /// <summary>An exception with this message and cause.</summary>
    public CheckpointException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }

    /// <summary>An exception without further words.</summary>
    public CheckpointException()
    {
    }
}
