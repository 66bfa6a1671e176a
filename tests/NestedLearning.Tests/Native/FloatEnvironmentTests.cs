using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using NestedLearning.Native;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>The floating-point environment of .NET's threads is their own: native kernels flush subnormal numbers, C# does not.</summary>
public sealed partial class FloatEnvironmentTests() : BackendTests("cpu")
{
    // What the processor computes now, not the compiler.
    private static volatile float s_epsilon = float.Epsilon, s_one = 1, s_three = 3, s_least = BitConverter.Int32BitsToSingle(0x00800000);

    [Fact]
    public void Environment_IsUnchanged_AfterOperations()
    {
        const int Size = 300;
        var data = new TestData(1);
        Tensor a = From([Size, Size], data.Normal(Size * Size)), b = From([Size, Size], data.Normal(Size * Size)),
            c = Unwritten([Size, Size]);
        Device.Threads = 4;
        RequireOrdinary();
        for (int i = 0; i < 20; i++)
        {
            Gemm.Multiply(new Operations.GemmArguments { A = a, B = b, C = c, Epilogue = Operations.Epilogue.Gelu });
            Elementwise.ActivationForward(Operations.Activation.Softplus, c, c);
            RequireOrdinary();
            RequireOrdinaryOnPoolThreads();
        }
    }

    [Fact]
    public unsafe void Environment_IsUnchanged_AfterFailures()
    {
        for (int i = 0; i < 20; i++)
        {
            Assert.NotEqual(Status.Ok, Kernels.Scale(null, 0, 1));
            Assert.NotEqual(Status.Ok, Kernels.ScanForward(null, 0, 1, null));
            RequireOrdinary();
            Parallel.For(0, 64, _ =>
            {
                Assert.NotEqual(Status.Ok, Kernels.Scale(null, 0, 1));
                RequireOrdinary();
            });
            RequireOrdinaryOnPoolThreads();
        }
    }

    // Each that returns a status, so that a new one is seen: the guard of native/core/export.h is around its whole body.
    [Fact]
    public void EveryExport_GoesThroughTheGuard()
    {
        string? repository = SharedFiles.Repository;
        Assert.SkipWhen(repository is null, "There are no sources here.");
        string native = Path.Combine(repository!, "native");
        Assert.SkipUnless(Directory.Exists(native), $"'{native}' does not exist.");
        string[] sources = [.. Directory.EnumerateFiles(native, "*.cc", SearchOption.AllDirectories)
            .Where(f => !f.Contains($"{Path.DirectorySeparatorChar}tests{Path.DirectorySeparatorChar}", StringComparison.Ordinal))
                .Select(File.ReadAllText)];
        string[] functions = [.. DeclarationPattern().Matches(File.ReadAllText(Path.Combine(native, "include", "nested_learning.h")))
            .Select(m => m.Groups[1].Value)
            .Except(["nl_abi_version", "nl_target_count", "nl_target_supported"])];
        Assert.NotEmpty(functions);
        Assert.All(functions, function =>
        {
            var definition = new Regex($@"int32_t {function}\([^{{}};]*\) \{{\s*return (?:nl|nested_learning)::Export\(\[&\] \{{");
            Assert.True(sources.Any(s => definition.IsMatch(s)), $"{function} is not defined as 'return nl::Export([&] {{ … }});'.");
        });
    }

    private static void RequireOrdinaryOnPoolThreads() => Parallel.For(0, 64, _ => RequireOrdinary());

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void RequireOrdinary()
    {
        Assert.True(s_epsilon * s_one != 0, "a subnormal operand counts as zero");
        Assert.True(s_least * 0.5f != 0, "a subnormal result is flushed");
        // To nearest: 1/3 rounds up in float32, and down in double.
        Assert.Equal(0x3EAAAAAB, BitConverter.SingleToInt32Bits(s_one / s_three));
        Assert.Equal(0x3FD5555555555555, BitConverter.DoubleToInt64Bits((double)s_one / s_three));
    }

    [GeneratedRegex(@"NL_API int32_t (nl_\w+)\(")]
    private static partial Regex DeclarationPattern();
}
