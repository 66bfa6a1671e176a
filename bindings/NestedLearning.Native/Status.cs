using System.Runtime.CompilerServices;

namespace NestedLearning.Native;

// The one place where statuses become exceptions.
internal static unsafe partial class Status
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void ThrowIfFailed(int status)
    {
        if (status != Ok)
            Throw(status);
    }

    private static void Throw(int status)
    {
        string message = KernelLibrary.Text(Kernels.LastError());
        throw status switch
        {
            InvalidArgument => new ArgumentException(message),
            UnsupportedTarget => new NotSupportedException(message),
            OutOfMemory => new InsufficientMemoryException(message),
            _ => new InvalidOperationException($"Native kernel failed with status {status}: {message}"),
        };
    }
}
