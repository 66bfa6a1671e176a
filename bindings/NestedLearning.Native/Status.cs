using System.Runtime.CompilerServices;

namespace NestedLearning.Native;

/// <summary>The native status codes, and the one place where they become exceptions.</summary>
internal static unsafe class Status
{
    public const int Ok = 0;
    public const int InvalidArgument = 1;
    public const int UnsupportedTarget = 2;
    public const int OutOfMemory = 3;

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
