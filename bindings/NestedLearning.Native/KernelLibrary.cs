using System.Reflection;
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>
/// The native library of this process: loaded and checked once, on first use. Nothing of <see cref="Kernels"/> may be
/// called while <see cref="Failure"/> is not null.
/// </summary>
internal static unsafe class KernelLibrary
{
    private static readonly Lazy<string?> s_failure = new(Open);
    private static nint s_handle;
    private static bool s_targetRefused;

    /// <summary>Why the library cannot be used here, or null where it can.</summary>
    public static string? Failure => s_failure.Value;

    /// <summary>
    /// Whether <see cref="Failure"/> is of what an environment variable asks for, a target or the library's path, which nobody
    /// should get something else for.
    /// </summary>
    public static bool IsRefused =>
        Failure is not null && (s_targetRefused || !string.IsNullOrEmpty(Environment.GetEnvironmentVariable(LibraryLoader.PathVariable)));

    /// <summary>Every target the library was compiled for, the plainest first, and whether this machine has it.</summary>
    public static IReadOnlyList<(string Name, bool Supported)> Targets
    {
        get
        {
            var targets = new (string, bool)[Kernels.TargetCount()];
            for (int i = 0; i < targets.Length; i++)
                targets[i] = (Text(Kernels.TargetName(i)), Kernels.TargetSupported(i) != 0);
            return targets;
        }
    }

    /// <summary>The name of the target in use.</summary>
    public static string CurrentTarget
    {
        get
        {
            int target;
            Status.ThrowIfFailed(Kernels.TargetCurrent(&target));
            return Text(Kernels.TargetName(target));
        }
    }

    /// <summary>Makes a target the one in use, for the whole process; for tests.</summary>
    /// <exception cref="ArgumentException">No target has that name.</exception>
    /// <exception cref="NotSupportedException">This machine does not have it.</exception>
    public static void Choose(string name)
    {
        int target = Array.FindIndex([.. Targets], t => t.Name == name);
        if (target < 0)
            throw new ArgumentException($"There is no target '{name}'; known are {string.Join(", ", Targets.Select(t => t.Name))}.",
                nameof(name));
        Status.ThrowIfFailed(Kernels.TargetChoose(target));
    }

    /// <summary>Why large products of bfloat16 operands do not use AMX tiles in this process, or null where they do.</summary>
    /// <param name="ask">
    /// Whether the operating system is asked for its permission, once in a process, where that is all that is missing; else such a
    /// permission counts as given.
    /// </param>
    public static string? AmxObstacle(bool ask)
    {
        byte* obstacle = Kernels.AmxObstacle(ask ? 1 : 0);
        return obstacle is null ? null : Text(obstacle);
    }

    /// <summary>The first thing in which library and bindings differ, or null.</summary>
    /// <param name="abiVersion">The library's.</param>
    /// <param name="structSize">The library's size of a struct by name; 0 for a name it does not know.</param>
    public static string? Mismatch(int abiVersion, Func<string, uint> structSize)
    {
        if (abiVersion != Kernels.AbiVersion)
            return $"its interface has version {abiVersion}, expected {Kernels.AbiVersion}";
        foreach ((string name, int size) in Kernels.StructSizes)
        {
            uint actual = structSize(name);
            if (actual != size)
                return $"its {name} has {actual} bytes, expected {size}";
        }

        return null;
    }

    internal static string Text(byte* text) => Marshal.PtrToStringUTF8((nint)text) ?? "";

    private static string? Open()
    {
        s_handle = LibraryLoader.Load(LibraryLoader.Candidates(), out string? failure);
        if (s_handle == 0)
            return failure;
        NativeLibrary.SetDllImportResolver(
            typeof(KernelLibrary).Assembly,
            static (string name, Assembly _, DllImportSearchPath? _) => name == Kernels.Library ? s_handle : 0);
        try
        {
            if (Mismatch(Kernels.GetAbiVersion(), static name => Kernels.StructSize(name)) is string difference)
                return $"{LibraryLoader.FileName} does not belong to this NestedLearning.Native: {difference}.";
            int target;
            if (Kernels.TargetCurrent(&target) is int status and not Status.Ok)
            {
                s_targetRefused = status == Status.UnsupportedTarget;
                return $"{Text(Kernels.LastError())}.";
            }
        }
        catch (EntryPointNotFoundException e)
        {
            return $"{LibraryLoader.FileName} does not belong to this NestedLearning.Native: {e.Message}";
        }

        return null;
    }
}
