using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using NestedLearning.Gpu.Cuda;
using Xunit;

namespace NestedLearning.Cuda.Tests;

/// <summary>
/// The embedded PTX as text. Nothing here assembles it: that takes ptxas or a driver.
/// </summary>
public sealed partial class PtxTests
{
    public static TheoryData<string, string> Files() => [.. CudaModules.Files.Select(file => ("sm_80", file))];

    [Theory]
    [MemberData(nameof(Files))]
    public void Kernels_TakeTheStructsThatAreLaunched(string architecture, string file)
    {
        string ptx = Text(architecture, file);
        Dictionary<string, int> launched = Launched().Where(k => k.File == file).ToDictionary(k => k.Name, k => k.Size);
        Dictionary<string, int> compiled = EntryPattern().Matches(ptx)
            .ToDictionary(m => m.Groups[1].Value, m => int.Parse(m.Groups[2].Value));
        Assert.Equal(compiled.OrderBy(k => k.Key), launched.OrderBy(k => k.Key));
        // What a launch can carry.
        Assert.All(compiled.Values, size => Assert.InRange(size, 1, 4096));
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Text_IsSound(string architecture, string file)
    {
        string ptx = Text(architecture, file);
        Assert.Contains($".target {architecture}\n", ptx, StringComparison.Ordinal);
        Assert.DoesNotContain(".extern .func", ptx, StringComparison.Ordinal);
        // An array that did not fit into registers would lie in the device's memory.
        Assert.DoesNotContain(".local", ptx, StringComparison.Ordinal);
        Assert.All(InlinePattern().Matches(ptx), m => Assert.Matches(s_instructions, m.Groups[1].Value.Trim()));
    }

    // Subnormal numbers are zeros in every kernel: what adds, multiplies, divides or takes roots of float32 flushes them.
    [Theory]
    [MemberData(nameof(Files))]
    public void Arithmetic_FlushesSubnormals(string architecture, string file)
    {
        string[] arithmetic = [.. ArithmeticPattern().Matches(Text(architecture, file)).Select(m => m.Value)];
        Assert.NotEmpty(arithmetic);
        Assert.All(arithmetic, instruction => Assert.Contains(".ftz", instruction, StringComparison.Ordinal));
    }

    [Fact]
    public void EveryFile_IsLaunched()
    {
        string[] launched = [.. Launched().Select(k => k.File).Distinct().Order()];
        Assert.Equal(launched, CudaModules.Files.Order());
        Ptx.Require();
        Assert.Equal(
            Files().Select(f => f.Data).Order(), CudaModules.Embedded().Select(e => (e.Architecture, e.File)).Order());
    }

    // The compiler does not look into inline assembly, so this says what may stand there: native/cuda/tensor_core.h's.
    private static readonly Regex s_instructions = InstructionPattern();

    private static string Text(string architecture, string file)
    {
        Ptx.Require();
        return CudaModules.Embedded().Single(e => e.Architecture == architecture && e.File == file).Ptx;
    }

    private static IEnumerable<(string File, string Name, int Size)> Launched() =>
        from type in typeof(CudaModules).Assembly.GetTypes()
        where type.Namespace == typeof(CudaModules).Namespace
        from field in type.GetFields(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly)
        let kernelType = field.FieldType.GetElementType() ?? field.FieldType
        where kernelType.IsGenericType && kernelType.GetGenericTypeDefinition() == typeof(CudaKernel<>)
        let value = field.GetValue(null)!
        from kernel in value is Array all ? all.Cast<object>() : [value]
        select ((string)Property(kernel, "File"), (string)Property(kernel, "Name"), SizeOf(kernelType.GenericTypeArguments[0]));

    private static object Property(object kernel, string name) => kernel.GetType().GetProperty(name)!.GetValue(kernel)!;

    private static int SizeOf(Type type) =>
        (int)typeof(Unsafe).GetMethod(nameof(Unsafe.SizeOf))!.MakeGenericMethod(type).Invoke(null, null)!;

    [GeneratedRegex(@"\.visible \.entry (\w+)\(\s*\.param \.align \d+ \.b8 \w+_param_0\[(\d+)\]\s*\)")]
    private static partial Regex EntryPattern();

    [GeneratedRegex(@"\b(add|sub|mul|fma|div|sqrt|rcp)(\.\w+)*\.f32\b")]
    private static partial Regex ArithmeticPattern();

    [GeneratedRegex(@"// begin inline asm\n(.*?)\n\s*// end inline asm", RegexOptions.Singleline)]
    private static partial Regex InlinePattern();

    [GeneratedRegex("""
        ^(mma\.sync\.aligned\.m16n8k8\.row\.col\.f32\.tf32\.tf32\.f32\ (\{(%f\d+,?){4}\}),
            \ \{(%r\d+,?){4}\},\ \{(%r\d+,?){2}\},\ \{(%f\d+,?){4}\};
        |mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.bf16\.bf16\.f32\ (\{(%f\d+,?){4}\}),
            \ \{(%r\d+,?){4}\},\ \{(%r\d+,?){2}\},\ \{(%f\d+,?){4}\};
        |ldmatrix\.sync\.aligned\.m8n8\.x4(\.trans)?\.shared\.b16\ \{(%r\d+,?){4}\},\ \[%r\d+\];
        |cp\.async\.cg\.shared\.global\ \[%r\d+\],\ \[%rd\d+\],\ 16(,\ %r\d+)?;
        |cp\.async\.ca\.shared\.global\ \[%r\d+\],\ \[%rd\d+\],\ 4,\ %r\d+;
        |cp\.async\.commit_group;
        |prefetch\.global\.L2\ \[%rd\d+\];
        |cp\.async\.wait_group\ \d+;
        |cvt\.rna\.tf32\.f32\ %r\d+,\ %f\d+;
        |cvt\.rn\.bf16x2\.f32\ %r\d+,\ %f\d+,\ %f\d+;)$
        """, RegexOptions.IgnorePatternWhitespace)]
    private static partial Regex InstructionPattern();
}
