using System.Reflection;
using System.Text.RegularExpressions;
using ILGPU;
using ILGPU.Backends.OpenCL;
using ILGPU.Runtime.OpenCL;
using NestedLearning.Gpu.Kernels;
using Xunit;

namespace NestedLearning.Gpu.Tests;

/// <summary>
/// Every kernel compiled to PTX and OpenCL C, with no device: what ILGPU gets wrong without saying so is found in the text.
/// </summary>
public sealed partial class CompiledKernelTests
{
    // Kernels that compute in double on purpose: long sums, and the ridge memory, whose factors are float64.
    private static readonly string[] s_double =
    [
        "SumKernels", "NormKernels", "ColumnSumKernels", "ConvolutionKernels.WeightBlocks", "AdamKernels.Commit", "MomentKernels.Commit",
            "CrossEntropyKernels.Forward",
        "CrossEntropyKernels.WithGradient", "ChunkBackwardKernels.StateDot", "RidgeKernels",
    ];

    // Kernels with a group's sum or maximum.
    private static readonly string[] s_sums =
    [
        "AdamKernels.Commit", "ChunkBackwardKernels.StateDot", "CrossEntropyKernels.Forward", "CrossEntropyKernels.WithGradient",
            "DecodeKernels.SelfModifying",
        "DeepMemoryKernels.Writes", "DeepMemoryKernels.WritesBackward", "MomentKernels.Commit", "NormKernels.Backward",
        "NormKernels.Forward", "RidgeKernels.ReadRows", "SumKernels.Parts", "SumKernels.Squares",
    ];

    public static TheoryData<string> Sums => [.. s_sums];

    public static TheoryData<string> Kernels() => [.. CompiledKernels.All().Select(CompiledKernels.NameOf)];

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Ptx_IsSound(string name)
    {
        string ptx = CompiledKernels.Ptx(Named(name));
        Assert.Null(Fault(ptx, mayUseDouble: s_double.Any(d => name == d || name.StartsWith(d + ".", StringComparison.Ordinal))));
        Assert.Equal(s_sums.Contains(name), ptx.Contains("shfl.sync.bfly", StringComparison.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void OpenCl_UsesNeitherGenericAddressesNorWarps(string name)
    {
        string source = OpenCl(Named(name));
        Assert.DoesNotContain("generic", source, StringComparison.Ordinal);
        Assert.DoesNotContain("sub_group", source, StringComparison.Ordinal);
    }

    // A sum within warps is two barriers; elsewhere one more stands in its loop.
    [Theory]
    [MemberData(nameof(Sums))]
    public void SumsOfWarps_HaveFewerBarriers(string name)
    {
        MethodInfo kernel = Named(name);
        int ofWarps = Count(CompiledKernels.Ptx(kernel), "bar.sync"), ofHalves = Count(OpenCl(kernel), "work_group_barrier");
        Assert.InRange(ofWarps, 2, ofHalves - 1);

        static int Count(string text, string word) => text.Split(word).Length - 1;
    }

    [Fact]
    public void Kernels_AreFound()
    {
        string[] names = [.. CompiledKernels.All().Select(CompiledKernels.NameOf)];
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
        Assert.Contains(fault, Fault(CompiledKernels.Ptx(method), mayUseDouble: false), StringComparison.Ordinal);
    }

    private static void FusedMultiplyAdd(ElementwiseArguments a) =>
        a.X[Grid.GlobalIndex.X] = MathF.FusedMultiplyAdd(a.Factor, a.Factor, a.Factor);

    private static void ReciprocalSquareRoot(ElementwiseArguments a) => a.X[Grid.GlobalIndex.X] = MathF.ReciprocalSqrtEstimate(a.Factor);

    private static void Double(ElementwiseArguments a) => a.X[Grid.GlobalIndex.X] = (float)((double)a.Factor * a.X[0]);

    private static MethodInfo Named(string name) => CompiledKernels.All().Single(m => CompiledKernels.NameOf(m) == name);

    private static string OpenCl(MethodInfo method)
    {
        using Context context = CompiledKernels.NewContext();
        using var backend = new CLBackend(context, new CLCapabilityContext(true, true, true, true, true), CLDeviceVendor.Other,
            CLCVersion.CL30);
        return ((CLCompiledKernel)CompiledKernels.Compile(backend, method)).Source;
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
