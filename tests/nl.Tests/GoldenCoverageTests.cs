using System.Reflection;
using System.Text;
using NestedLearning.CommandLine.Operations;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.CommandLine.Tests;

/// <summary>
/// That the golden cases and docs/cases.md know all that <c>nl op</c> can do, and that <c>nl op</c> knows all that the seam can.
/// What an operation takes is what it asks its golden cases for; no list is kept by hand.
/// </summary>
public sealed class GoldenCoverageTests
{
    // Every part that every golden case was asked for, by operation.
    private static readonly Lazy<ILookup<string, CasePart>> s_asked = new(() =>
    {
        using var device = Device.Open("managed");
        var asked = new List<(string Operation, CasePart Part)>();
        foreach (string name in GoldenCase.Names())
        {
            SafetensorsFile file = CaseFile.Load(SharedFiles.GoldenFile(name));
            Operation operation = CaseFile.Operation(name, file) ?? throw new InvalidDataException($"{name} has no operation.");
            OperationRun.Execute(operation, file, device, out IReadOnlyList<CasePart> parts);
            asked.AddRange(parts.Select(p => (operation.Name, p)));
        }

        return asked.ToLookup(a => a.Operation, a => a.Part);
    });

    public static TheoryData<string> Operations => [.. Operation.All.Select(o => o.Name)];

    /// <summary>The records that the backends are called with.</summary>
    public static TheoryData<Type> SeamTypes =>
    [
        typeof(ScanSettings), typeof(ScanInputs), typeof(ScanOutputGradients),
        typeof(SelfModifyingSettings), typeof(SelfModifyingInputs), typeof(SelfModifyingOutputGradients),
        typeof(DeepMemorySettings), typeof(DeepMemoryInputs), typeof(DeepMemoryOutputGradients),
        typeof(AttentionSettings), typeof(AttentionInputs),
        typeof(GemmArguments),
        typeof(AdamSettings), typeof(MomentSettings), typeof(MomentTensors),
    ];

    [Theory]
    [MemberData(nameof(Operations))]
    public void EveryOperation_HasAGoldenCase(string operation) => Assert.NotEmpty(s_asked.Value[operation]);

    [Theory]
    [MemberData(nameof(Operations))]
    public void WhatIsOptional_IsGivenInOneGoldenCaseAndLeftOutInAnother(string operation)
    {
        foreach (IGrouping<string, CasePart> part in s_asked.Value[operation].Where(p => p.Optional).GroupBy(p => p.Name))
        {
            Assert.True(part.Any(p => p.Given), $"No golden case of {operation} gives '{part.Key}'.");
            Assert.True(part.Any(p => !p.Given), $"Every golden case of {operation} gives '{part.Key}'.");
        }
    }

    [Theory]
    [MemberData(nameof(Operations))]
    public void EveryChoice_IsMadeInAGoldenCaseOfTheOperation(string operation)
    {
        foreach (IGrouping<string, CasePart> part in s_asked.Value[operation].Where(p => p.Value is not null).GroupBy(p => p.Name))
        {
            Type type = part.First().Value!.GetType();
            IEnumerable<object> all = type == typeof(bool) ? [false, true] : Enum.GetValues(type).Cast<object>();
            // What is left out is the first value.
            HashSet<object> made = [.. part.Select(p => p.Value!)];
            foreach (object value in all)
            {
                Assert.True(
                    made.Contains(value) || IsNoChoice(operation, value) || IsDefault(part, value),
                    $"No golden case of {operation} has {part.Key} = {value}.");
            }
        }

        bool IsDefault(IGrouping<string, CasePart> part, object value) =>
            s_asked.Value[operation].Any(p => p.Name == part.Key && !p.Given)
            && (value is false || (value is Enum e && Convert.ToInt32(e, null) == 0));
    }

    // Given is no choice of the frozen rules, whose settings are the same type; nor can a scan with a free chunk read its start.
    private static bool IsNoChoice(string operation, object value) => value switch
    {
        ScanWrite.Given => operation.StartsWith("scan-frozen", StringComparison.Ordinal),
        ScanRead.ChunkStart => operation is "scan" or "scan-backward",
        _ => false,
    };

    [Theory]
    [MemberData(nameof(SeamTypes))]
    public void EverySettingAndTensorOfTheSeam_CanBeGiven(Type type)
    {
        HashSet<string> known = [.. s_asked.Value.SelectMany(g => g).Select(ShortName)];
        // What says that a check is done already changes no result.
        foreach (PropertyInfo property in type.GetProperties(BindingFlags.Public | BindingFlags.Instance)
            .Where(p => p.CanWrite && p.Name != nameof(AdamSettings.GradientIsBounded)))
        {
            string name = NameOf(type, property.Name);
            Assert.True(known.Contains(name), $"No operation takes {type.Name}.{property.Name} as '{name}'.");
        }
    }

    [Fact]
    public void EveryMethodOfTheSeam_HasAnOperation()
    {
        // Memory, which every operation uses.
        string[] memory =
            [nameof(Backend.Allocate), nameof(Backend.Upload), nameof(Backend.Download), nameof(Backend.Copy), nameof(Backend.Fill)];
        string[] methods = [.. typeof(Backend).GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly)
            .Where(m => m.IsVirtual && !m.IsFinal && !m.IsSpecialName && !memory.Contains(m.Name)).Select(m => m.Name)];
        Assert.True(methods.Length > 20, $"{methods.Length} methods were found.");
        foreach (string method in methods)
        {
            string operation = OperationOf(method);
            Assert.True(Operation.Find(operation) is not null, $"Backend.{method} should be the operation '{operation}'.");
        }
    }

    private static string OperationOf(string method) => method switch
    {
        nameof(Backend.SumsOfSquares) => "sum-of-squares",
        nameof(Backend.AdamCommit) => "adam",
        nameof(Backend.GemmAdamCommit) => "gemm-adam",
        _ => KebabCase(method)
            .Replace("-forward", "", StringComparison.Ordinal)
            .Replace("deep-memory", "mlp-memory", StringComparison.Ordinal)
            .Replace("self-modifying", "self-modifying-memories", StringComparison.Ordinal),
    };

    private static string KebabCase(string name) => SnakeCase(name).Replace('_', '-');

    [Theory]
    [MemberData(nameof(Operations))]
    public void EveryTensorAndSetting_IsInTheDocumentation(string operation)
    {
        string section = Section(operation);
        foreach (string part in s_asked.Value[operation].Select(ShortName).Distinct())
        {
            // theta.0, theta.1, ... are theta.ℓ.
            string name = part.Contains('.', StringComparison.Ordinal) ? part[..(part.LastIndexOf('.') + 1)] : $"`{part}`";
            Assert.True(section.Contains(name, StringComparison.Ordinal), $"docs/cases.md, {operation}, does not name {name}.");
        }
    }

    [Theory]
    [MemberData(nameof(Operations))]
    public void EveryResult_IsInTheDocumentation(string operation)
    {
        string section = Section(operation);
        foreach (string name in GoldenCase.Names(operation).SelectMany(n => GoldenCase.Load(n).Results).Distinct())
        {
            string result = name.Contains('.', StringComparison.Ordinal) ? name[..(name.LastIndexOf('.') + 1)] : $"`{name}`";
            Assert.True(
                section.Contains(result, StringComparison.Ordinal), $"docs/cases.md, {operation}, does not name the result {result}.");
        }
    }

    [Fact]
    public void CaseOfTheDocumentedPythonText_IsAccepted()
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("case.safetensors");
        File.WriteAllBytes(path, PythonBytes());
        CommandLineRun run = CommandLineRun.Of("check", path, "--device", "managed");
        Assert.True(run.Status == ExitStatus.Success, run.Output + run.Error);
        run = CommandLineRun.Of("op", path, "--out", folder.File("result.safetensors"), "--device", "managed");
        Assert.Equal("", run.Error);
        Assert.Equal(new float[] { 2, 0, 3, 2 }, SafetensorsFile.Load(folder.File("result.safetensors")).Floats("out.o").ToArray());
    }

    // What the safetensors package writes of the case in docs/cases.md: the metadata first, then tensors by falling alignment and
    // by name, the header padded with spaces to a multiple of eight bytes.
    private static byte[] PythonBytes()
    {
        string documentation = File.ReadAllText(SharedFiles.RequireRepository("docs", "cases.md"));
        Assert.Contains("\"in.q\": np.array([[1, 0], [1, 1]], np.float32).reshape(1, 2, 1, 2)", documentation, StringComparison.Ordinal);
        Assert.Contains("metadata={\"op\": \"scan\", \"scale\": \"1.0\", \"read\": \"after\"}", documentation, StringComparison.Ordinal);
        string text = """{"__metadata__":{"op":"scan","read":"after","scale":"1.0"}"""
            + Entry("in.k", 0) + Entry("in.q", 16) + Entry("in.u", 32) + Entry("out.o", 48) + "}";
        byte[] header = Encoding.UTF8.GetBytes(text.PadRight((text.Length + 7) / 8 * 8));
        float[] k = [1, 0, 0, 1], q = [1, 0, 1, 1], u = [2, 0, 1, 2], o = [2, 0, 3, 2];
        IEnumerable<byte> data = new[] { k, q, u, o }.SelectMany(t => t).SelectMany(BitConverter.GetBytes);
        return [.. BitConverter.GetBytes((ulong)header.Length), .. header, .. data];

        static string Entry(string name, int offset) =>
            $$""","{{name}}":{"dtype":"F32","shape":[1,2,1,2],"data_offsets":[{{offset}},{{offset + 16}}]}""";
    }

    private static string Section(string operation)
    {
        string documentation = File.ReadAllText(SharedFiles.RequireRepository("docs", "cases.md"));
        int start = documentation.IndexOf($"\n### `{operation}`\n", StringComparison.Ordinal);
        Assert.True(start >= 0, $"docs/cases.md has no heading for {operation}.");
        int end = documentation.IndexOf("\n### ", start + 1, StringComparison.Ordinal);
        int next = documentation.IndexOf("\n## ", start + 1, StringComparison.Ordinal);
        end = end < 0 ? documentation.Length : end;
        return documentation[start..(next < 0 ? end : Math.Min(end, next))];
    }

    // LogAlpha is log_alpha, and so on; what a case calls otherwise, and why.
    private static string NameOf(Type type, string property) => (type.Name, property) switch
    {
        (nameof(ScanSettings), nameof(ScanSettings.Write)) => "objective",
        (nameof(GemmArguments), nameof(GemmArguments.Accumulate)) => "c",
        (_, "LearningRate") => "lr",
        (_, "Epsilon") => "eps",
        (_, "Step") => "g",
        // Gradients are named after what they are the gradients of.
        (nameof(ScanOutputGradients) or nameof(SelfModifyingOutputGradients) or nameof(DeepMemoryOutputGradients), _) =>
            "d" + SnakeCase(property),
        _ => SnakeCase(property),
    };

    private static string ShortName(CasePart part) => part.IsTensor ? part.Name[OperationRun.InputPrefix.Length..] : part.Name;

    private static string SnakeCase(string name) =>
        string.Concat(name.Select((c, i) => char.IsUpper(c) ? (i == 0 ? "" : "_") + char.ToLowerInvariant(c) : c.ToString()));
}
