using System.Reflection;
using ILGPU;
using ILGPU.Algorithms;
using ILGPU.Backends;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.PTX;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using NestedLearning.Gpu.Cuda;
using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

/// <summary>The kernels as text, made without a device.</summary>
internal static class CompiledKernels
{
    /// <summary>Every kernel that ILGPU compiles.</summary>
    public static IEnumerable<MethodInfo> All() =>
        from type in typeof(ProductKernels).Assembly.GetTypes()
        where type.Namespace == typeof(ProductKernels).Namespace && type.Name.EndsWith("Kernels", StringComparison.Ordinal)
        from method in type.GetMethods(BindingFlags.Static | BindingFlags.Public | BindingFlags.DeclaredOnly)
        let parameters = method.GetParameters()
        where method.ReturnType == typeof(void) && parameters.Length == 1
            && parameters[0].ParameterType.Name.EndsWith("Arguments", StringComparison.Ordinal)
        select method;

    public static string NameOf(MethodInfo method) => $"{method.DeclaringType!.Name}.{method.Name}";

    /// <summary>A context for one kernel: after a failure the next error of the same one would say nothing.</summary>
    public static Context NewContext() => Context.Create(b => b.EnableAlgorithms().Optimize(OptimizationLevel.O2));

    public static CompiledKernel Compile(ILGPU.Backends.Backend backend, MethodInfo method) =>
        backend.Compile(EntryPointDescription.FromExplicitlyGroupedKernel(method), new KernelSpecialization(64, null));

    public static string Ptx(MethodInfo method)
    {
        using Context context = NewContext();
        CudaArchitecture architecture = CudaArchitecture.SM_80;
        using var backend = new PTXBackend(context, new CudaCapabilityContext(architecture), architecture, CudaInstructionSet.ISA_80, null);
        return ((PTXCompiledKernel)Compile(backend, method)).PTXAssembly;
    }

    /// <summary>Writes the PTX of every kernel: ilgpu/KERNEL.ptx, and ARCHITECTURE/FILE.ptx of those written by hand.</summary>
    /// <returns>The number of files.</returns>
    public static int WritePtx(string folder)
    {
        int files = 0;
        foreach (MethodInfo method in All())
            Write("ilgpu", NameOf(method), Ptx(method));
        foreach ((string architecture, string file, string ptx) in CudaModules.Embedded())
            Write(architecture, file, ptx);
        return files;

        void Write(string group, string name, string ptx)
        {
            SafeFile.WriteText(Path.Combine(Directory.CreateDirectory(Path.Combine(folder, group)).FullName, name + ".ptx"), ptx);
            files++;
        }
    }
}
