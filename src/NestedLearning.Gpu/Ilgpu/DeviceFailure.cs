using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace NestedLearning.Gpu;

/// <summary>A device stopped working during an operation: it was lost, or a kernel does not fit it.</summary>
public sealed class DeviceFailureException : Exception
{
    /// <summary>An exception with this message.</summary>
    public DeviceFailureException(string message)
        : base(message)
    {
    }

    /// <summary>An exception with this message and cause.</summary>
    public DeviceFailureException(string message, Exception? innerException)
        : base(message, innerException)
    {
    }

    /// <summary>An exception without further words.</summary>
    public DeviceFailureException()
    {
    }
}

/// <summary>The one place that tells the drivers' errors apart.</summary>
internal static class DeviceFailure
{
    public static bool IsOutOfMemory(Exception e) => e switch
    {
        OutOfMemoryException => true,
        // It keeps the driver's words and not its number.
        CudaException cuda =>
            cuda.Message.Contains("memory", StringComparison.OrdinalIgnoreCase)
            && cuda.Message.Contains("out of", StringComparison.OrdinalIgnoreCase),
        CuBlasException blas => blas.Error == CuBlasStatus.CUBLAS_STATUS_ALLOC_FAILED,
        CLException cl =>
            cl.Error is CLError.CL_MEM_OBJECT_ALLOCATION_FAILURE or CLError.CL_OUT_OF_HOST_MEMORY or CLError.CL_INVALID_BUFFER_SIZE,
        _ => false,
    };

    /// <summary>Whether it comes from the device and not from a mistake of the caller.</summary>
    public static bool IsOfDevice(Exception e) =>
        e is AcceleratorException or CuBlasException or ILGPU.InternalCompilerException or NotSupportedException
        && e is not ObjectDisposedException;

    public static Exception Describe(string backend, string device, string doing, Exception e)
    {
        if (IsOutOfMemory(e))
            return new InsufficientMemoryException($"'{device}' ran out of memory in {doing}.", e);
        string what = e switch
        {
            CudaException when e.Message.Contains("resources", StringComparison.OrdinalIgnoreCase) => "the kernel does not fit the device",
            CudaException or CuBlasException => "the device is lost or the kernel failed; open the backend again",
            InvalidOperationException or NotSupportedException => "the kernel cannot be compiled for it",
            _ => "the device failed",
        };
        return new DeviceFailureException($"Backend '{backend}' on '{device}', {doing}: {what} ({e.Message.ReplaceLineEndings(" ")}).", e);
    }
}
