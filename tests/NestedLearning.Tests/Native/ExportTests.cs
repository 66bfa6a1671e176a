using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using NestedLearning.Native;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>The library's exports, the header and the bindings name the same things.</summary>
public sealed partial class ExportTests
{
    private const BindingFlags Members = BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic;

    private static string Header => File.ReadAllText(HeaderPath());

    [Fact]
    public void EntryPoints_AreTheHeadersFunctions() => Assert.Equal(HeaderFunctions(), EntryPoints());

    [Fact]
    public void Exports_AreTheHeadersFunctions()
    {
        string library = RequireLibrary();
        if (!library.EndsWith(".so", StringComparison.Ordinal))
            Assert.Skip("The exports are read from ELF files.");
        Assert.Equal(HeaderFunctions(), ElfExports.Read(library));
    }

    [Fact]
    public void BoundStructs_AreTheHeadersStructs()
    {
        IEnumerable<string> structs = StructPattern().Matches(Header).Select(m => m.Groups[1].Value);
        Assert.Equal(structs.Order(StringComparer.Ordinal), Kernels.StructSizes.Select(s => s.Name).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void AbiVersion_IsTheHeaders() => Assert.Equal(Kernels.AbiVersion, Constants()["NL_ABI_VERSION"]);

    [Theory]
    [InlineData("NL_SUM_BLOCK", Kernels.SumBlock)]
    [InlineData("NL_COLUMN_BLOCK", Kernels.ColumnBlock)]
    [InlineData("NL_NORM_BLOCK", Kernels.NormBlock)]
    [InlineData("NL_CONVOLUTION_TIME", Kernels.ConvolutionTime)]
    [InlineData("NL_CONVOLUTION_CHANNELS", Kernels.ConvolutionChannels)]
    [InlineData("NL_OK", Status.Ok)]
    [InlineData("NL_INVALID_ARGUMENT", Status.InvalidArgument)]
    [InlineData("NL_UNSUPPORTED_TARGET", Status.UnsupportedTarget)]
    [InlineData("NL_OUT_OF_MEMORY", Status.OutOfMemory)]
    [InlineData("NL_SIGMOID", (int)Activation.Sigmoid)]
    [InlineData("NL_SOFTPLUS", (int)Activation.Softplus)]
    [InlineData("NL_LOG_SIGMOID", (int)Activation.LogSigmoid)]
    [InlineData("NL_GELU", (int)Activation.Gelu)]
    [InlineData("NL_EPILOGUE_NONE", (int)Epilogue.None)]
    [InlineData("NL_EPILOGUE_GELU", (int)Epilogue.Gelu)]
    [InlineData("NL_EPILOGUE_GELU_GRADIENT", (int)Epilogue.GeluGradient)]
    [InlineData("NL_NORM_RMS", (int)NormKind.Rms)]
    [InlineData("NL_NORM_LAYER", (int)NormKind.Layer)]
    [InlineData("NL_NORM_L2", (int)NormKind.L2)]
    public void Constant_IsTheHeaders(string name, int value) => Assert.Equal(Constants()[name], value);

    [Fact]
    public void EveryStruct_IsOfTheLibrarysSize()
    {
        RequireLibrary();
        foreach ((string name, int size) in Kernels.StructSizes)
            Assert.Equal((uint)size, Kernels.StructSize(name));
    }

    private static SortedSet<string> HeaderFunctions() =>
        new(FunctionPattern().Matches(Header).Select(m => m.Groups[1].Value), StringComparer.Ordinal);

    private static SortedSet<string> EntryPoints() =>
        new(typeof(Kernels).GetMethods(Members).Select(m => m.GetCustomAttribute<LibraryImportAttribute>()?.EntryPoint).OfType<string>(), StringComparer.Ordinal);

    private static Dictionary<string, int> Constants() => ConstantPattern().Matches(Header)
        .ToDictionary(m => m.Groups[1].Value, m => int.Parse(m.Groups[2].Value, CultureInfo.InvariantCulture));

    private static string RequireLibrary()
    {
        if (KernelLibrary.Failure is string failure)
            Missing(failure);
        return LibraryLoader.Candidates().First(File.Exists);
    }

    private static string HeaderPath()
    {
        string path = Path.Combine(SharedFiles.Repository ?? AppContext.BaseDirectory, "native", "include", "nested_learning.h");
        if (!File.Exists(path))
            Missing($"'{path}' does not exist.");
        return path;
    }

    // A checkout may do without its native part, unless that was built here.
    private static void Missing(string what)
    {
        if (Environment.GetEnvironmentVariable(BackendTests.RequireVariable) == "1")
            Assert.Fail(what);
        Assert.Skip(what);
    }

    [GeneratedRegex(@"NL_API\s[^;(]*?\b(nl_\w+)\(")]
    private static partial Regex FunctionPattern();

    [GeneratedRegex(@"typedef struct (nl_\w+)")]
    private static partial Regex StructPattern();

    [GeneratedRegex(@"(?:#define |^\s+)(NL_[A-Z0-9_]+) (?:= )?(\d+)", RegexOptions.Multiline)]
    private static partial Regex ConstantPattern();
}
