using System.Runtime.InteropServices;
using ILGPU.Runtime.Cuda.API;
using NestedLearning.Gpu.Cuda;

namespace NestedLearning.Gpu;

/// <summary>
/// The drivers' own libraries, and cuBLAS. ILGPU takes a driver that fails for one without devices, so the driver is asked for
/// the reason here.
/// </summary>
internal static unsafe class DriverLibrary
{
    private const string Cuda = "cuda", OpenCl = "OpenCL";

    // The first with PTX 7.0, which the hand-written kernels are.
    private const int OldestCuda = 11000;

    /// <summary>Loads a library by the name ILGPU gives it; 0 where it is left to the usual search or not there.</summary>
    public static nint Load(string name)
    {
        foreach (string file in Files(name))
        {
            if (NativeLibrary.TryLoad(file, out nint handle))
                return handle;
        }

        return 0;
    }

    /// <summary>Why CUDA cannot run here, or null.</summary>
    public static string? CudaObstacle()
    {
        nint library = Load(Cuda);
        if (library == 0)
            return $"no NVIDIA driver: {string.Join(" and ", Files(Cuda))} cannot be loaded.";
        if (!Export(library, "cuInit", out nint init) || !Export(library, "cuDeviceGetCount", out nint getCount)
            || !Export(library, "cuDriverGetVersion", out nint getVersion))
            return "the NVIDIA driver's library has no cuInit, cuDeviceGetCount or cuDriverGetVersion.";
        int status = ((delegate* unmanaged<uint, int>)init)(0);
        if (status != 0)
            return $"the NVIDIA driver does not start: {CudaMessage(library, status)}.";
        int version = 0;
        status = ((delegate* unmanaged<int*, int>)getVersion)(&version);
        if (status != 0)
            return $"the NVIDIA driver does not say its version: {CudaMessage(library, status)}.";
        if (version < OldestCuda)
            return $"the NVIDIA driver is of CUDA {version / 1000}.{version % 1000 / 10}; {OldestCuda / 1000}.{OldestCuda % 1000 / 10} " +
                "or newer is needed.";
        int count = 0;
        status = ((delegate* unmanaged<int*, int>)getCount)(&count);
        if (status != 0)
            return $"the NVIDIA driver does not count its devices: {CudaMessage(library, status)}.";
        return count == 0 ? "the NVIDIA driver has no device." : null;
    }

    /// <summary>Why OpenCL cannot run here, or null.</summary>
    public static string? OpenClObstacle()
    {
        // CL_PLATFORM_NOT_FOUND_KHR.
        const int NoPlatform = -1001;
        nint library = Load(OpenCl);
        if (library == 0)
            return $"no OpenCL loader: {string.Join(" and ", Files(OpenCl))} cannot be loaded.";
        if (!Export(library, "clGetPlatformIDs", out nint getPlatforms))
            return "the OpenCL loader has no clGetPlatformIDs.";
        uint count = 0;
        int status = ((delegate* unmanaged<uint, void*, uint*, int>)getPlatforms)(0, null, &count);
        if (status == NoPlatform || (status == 0 && count == 0))
            return "the OpenCL loader knows no driver.";
        return status == 0 ? null : $"the OpenCL loader gives error {status}.";
    }

    /// <summary>The cuBLAS that was loaded last; 0 before.</summary>
    public static nint Blas { get; private set; }

    /// <summary>
    /// Loads the newest cuBLAS that is here, of those that ILGPU knows, or the one that <see cref="CudaBlas.Variable"/> names; null where
    /// there is none.
    /// </summary>
    public static CuBlasAPIVersion? LoadBlas()
    {
        string? path = Environment.GetEnvironmentVariable(CudaBlas.Variable);
        foreach ((CuBlasAPIVersion version, int number) in ((CuBlasAPIVersion, int)[])[(CuBlasAPIVersion.V12, 12),
            (CuBlasAPIVersion.V11, 11)])
        {
            string file = OperatingSystem.IsWindows() ? $"cublas64_{number}.dll" : $"libcublas.so.{number}";
            if (NativeLibrary.TryLoad(string.IsNullOrEmpty(path) ? file : path, out nint handle) && Export(handle, "cublasSgemm_v2", out _))
            {
                Blas = handle;
                return version;
            }
        }

        return null;
    }

    /// <summary>A function of the NVIDIA driver.</summary>
    public static nint CudaExport(string name) => NativeLibrary.GetExport(Load(Cuda), name);

    // A driver in an unusual place, such as the tests' stand-in, is named by its path.
    private static string[] Files(string name) => (name, OperatingSystem.IsWindows()) switch
    {
        (Cuda, _) when Environment.GetEnvironmentVariable("NESTED_LEARNING_CUDA_DRIVER") is { Length: > 0 } path => [path],
        (Cuda, false) => ["libcuda.so.1"],
        (Cuda, true) => ["nvcuda.dll"],
        (OpenCl, false) => ["libOpenCL.so.1"],
        (OpenCl, true) => ["OpenCL.dll"],
        _ => [],
    };

    private static bool Export(nint library, string name, out nint address) => NativeLibrary.TryGetExport(library, name, out address);

    private static string CudaMessage(nint library, int status)
    {
        byte* text = null;
        if (Export(library, "cuGetErrorString", out nint getString)
            && ((delegate* unmanaged<int, byte**, int>)getString)(status, &text) == 0)
            return $"{Marshal.PtrToStringUTF8((nint)text)} (CUDA error {status})";
        return $"CUDA error {status}";
    }
}
