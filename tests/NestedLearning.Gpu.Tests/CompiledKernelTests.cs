using System.Reflection;
using System.Text.RegularExpressions;
using ILGPU;
using ILGPU.Algorithms;
using ILGPU.Backends;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.OpenCL;
using ILGPU.Backends.PTX;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;
using NestedLearning.Gpu.Kernels;
using Xunit;

namespace NestedLearning.Gpu.Tests;

/// <summary>
/// Every kernel compiled to PTX and OpenCL C, with no device: what ILGPU gets wrong without saying so is found in the text.
/// </summary>
public sealed partial class CompiledKernelTests
{
    // Kernels that sum in double on purpose.
    private static readonly string[] s_double =
    [
        "SumKernels", "NormKernels", "ColumnSumKernels", "ConvolutionKernels.WeightBlocks", "AdamKernels.Commit", "MomentKernels.Commit", "CrossEntropyKernels.Forward",
        "CrossEntropyKernels.WithGradient", "ChunkBackwardKernels.StateDot",
    ];

    public static TheoryData<string> Kernels() => [.. All().Select(NameOf)];

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Ptx_IsSound(string name)
    {
        string ptx = Ptx(All().Single(m => NameOf(m) == name));
        Assert.Null(Fault(ptx, mayUseDouble: s_double.Any(d => name == d || name.StartsWith(d + ".", StringComparison.Ordinal))));
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void OpenCl_UsesNoGenericAddresses(string name)
    {
        using Context context = NewContext();
        using var backend = new CLBackend(context, new CLCapabilityContext(true, true, true, true, true), CLDeviceVendor.Other, CLCVersion.CL30);
        var kernel = (CLCompiledKernel)Compile(backend, All().Single(m => NameOf(m) == name));
        Assert.DoesNotContain("generic", kernel.Source, StringComparison.Ordinal);
    }

    [Fact]
    public void Kernels_AreFound()
    {
        string[] names = [.. All().Select(NameOf)];
        Assert.True(names.Length > 30, string.Join(", ", names));
        Assert.Contains("ProductKernels.Product", names);
        Assert.Equal(names.Length, names.Distinct().Count());
    }

    // Calls that ILGPU 1.5.3 compiles and that do not work: the scan must see them.
    [Theory]
    [InlineData(nameof(FusedMultiplyAdd), "unresolved")]
    [InlineData(nameof(ReciprocalSquareRoot), "calls itself")]
    [InlineData(nameof(Double), "f64")]
    public void Ptx_OfABadKernel_IsNot(string name, string fault)
    {
        MethodInfo method = typeof(CompiledKernelTests).GetMethod(name, BindingFlags.Static | BindingFlags.NonPublic)!;
        Assert.Contains(fault, Fault(Ptx(method), mayUseDouble: false), StringComparison.Ordinal);
    }

    private static void FusedMultiplyAdd(ElementwiseArguments a) => a.X[Grid.GlobalIndex.X] = MathF.FusedMultiplyAdd(a.Factor, a.Factor, a.Factor);

    private static void ReciprocalSquareRoot(ElementwiseArguments a) => a.X[Grid.GlobalIndex.X] = MathF.ReciprocalSqrtEstimate(a.Factor);

    private static void Double(ElementwiseArguments a) => a.X[Grid.GlobalIndex.X] = (float)((double)a.Factor * a.X[0]);

    private static IEnumerable<MethodInfo> All() =>
        from type in typeof(ProductKernels).Assembly.GetTypes()
        where type.Namespace == typeof(ProductKernels).Namespace && type.Name.EndsWith("Kernels", StringComparison.Ordinal)
        from method in type.GetMethods(BindingFlags.Static | BindingFlags.Public | BindingFlags.DeclaredOnly)
        let parameters = method.GetParameters()
        where method.ReturnType == typeof(void) && parameters.Length == 1 && parameters[0].ParameterType.Name.EndsWith("Arguments", StringComparison.Ordinal)
        select method;

    private static string NameOf(MethodInfo method) => $"{method.DeclaringType!.Name}.{method.Name}";

    // A context a kernel: after a failure the next error would say nothing.
    private static Context NewContext() => Context.Create(b => b.EnableAlgorithms().Optimize(OptimizationLevel.O2));

    private static CompiledKernel Compile(ILGPU.Backends.Backend backend, MethodInfo method) =>
        backend.Compile(EntryPointDescription.FromExplicitlyGroupedKernel(method), new KernelSpecialization(64, null));

    private static string Ptx(MethodInfo method)
    {
        using Context context = NewContext();
        CudaArchitecture architecture = CudaArchitecture.SM_80;
        using var backend = new PTXBackend(context, new CudaCapabilityContext(architecture), architecture, CudaInstructionSet.ISA_80, null);
        return ((PTXCompiledKernel)Compile(backend, method)).PTXAssembly;
    }

    private static string? Fault(string ptx, bool mayUseDouble)
    {
        if (ptx.Contains(".extern .func", StringComparison.Ordinal))
            return "There is an unresolved function.";
        foreach (Match function in FunctionPattern().Matches(ptx))
        {
            int end = ptx.IndexOf("\n}", function.Index, StringComparison.Ordinal);
            string body = ptx[(function.Index + function.Length)..end];
            if (CallPattern().Matches(body).Any(call => call.Groups[1].Value == function.Groups[1].Value))
                return $"{function.Groups[1].Value} calls itself.";
        }

        return !mayUseDouble && ptx.Contains(".f64", StringComparison.Ordinal) ? "There is f64." : null;
    }

    [GeneratedRegex(@"\.func\s*(?:\([^)]*\))?\s*([\w$]+)\s*\(")]
    private static partial Regex FunctionPattern();

    [GeneratedRegex(@"call(?:\.uni)?\s+(?:\([^)]*\),\s*)?([\w$]+)")]
    private static partial Regex CallPattern();
}
