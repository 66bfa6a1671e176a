namespace NestedLearning.CommandLine.Streaming;

/// <summary>The stream cannot begin or go on; the message is for the user.</summary>
internal class StreamException : Exception
{
    public StreamException(string message)
        : base(message)
    {
    }

    public StreamException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }

    public StreamException()
    {
    }
}

/// <summary>A learner's numbers are no longer finite.</summary>
internal sealed class DivergenceException : StreamException
{
    public DivergenceException(string message)
        : base(message)
    {
    }

    public DivergenceException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }

    public DivergenceException()
    {
    }
}
