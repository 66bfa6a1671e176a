using System.Globalization;
using System.Text.RegularExpressions;
using Xunit;

namespace NestedLearning.Generator.Tests;

/// <summary>
/// The limits of CONTRIBUTING.md, which formatters leave to the author: long lines, and files too long to read in one sitting.
/// </summary>
public sealed partial class SourceFormTests
{
    private const int LongestFile = 500;

    private static readonly string[] s_folders = ["src", "bindings", "native", "tools", "tests", "benchmarks", "samples"];
    private static readonly string[] s_kinds = [".cs", ".h", ".cc", ".cu", ".cuh"];

    // Of C++ clang-format breaks the code.
    [Fact]
    public void Lines_OfCSharp_AreAtMostAsLongAsTheEditorConfigurationSays()
    {
        int limit = Limit();
        AssertNone(
            from path in Files()
            where path.EndsWith(".cs", StringComparison.Ordinal)
            from line in File.ReadLines(path).Select((text, index) => (Text: text, Number: index + 1))
            where line.Text.Length > limit
            select $"{Relative(path)}:{line.Number} has {line.Text.Length} characters, expected at most {limit}");
    }

    // But the C header, which is the whole interface in one place.
    [Fact]
    public void Files_OfProduction_CanBeReadInOneSitting()
    {
        AssertNone(
            from path in Files()
            let folders = Relative(path).Split('/')
            where !folders.Contains("tests") && !folders.Contains("Generated")
            let lines = File.ReadLines(path).Count()
            where lines > LongestFile && Relative(path) != Outputs.Header
            select $"{Relative(path)} has {lines} lines, expected at most {LongestFile}");
    }

    private static void AssertNone(IEnumerable<string> faults)
    {
        string[] all = [.. faults];
        Assert.True(all.Length == 0, string.Join('\n', all));
    }

    private static IEnumerable<string> Files() =>
        from folder in s_folders
        let root = Path.Combine(Sources.Root, folder)
        where Directory.Exists(root)
        from path in Directory.EnumerateFiles(root, "*", SearchOption.AllDirectories)
        where s_kinds.Contains(Path.GetExtension(path)) && !Relative(path).Split('/').Any(part => part is "bin" or "obj")
        select path;

    private static string Relative(string path) => Path.GetRelativePath(Sources.Root, path).Replace('\\', '/');

    // max_line_length of the section [*.cs].
    private static int Limit()
    {
        Match limit = CSharpLimit().Match(File.ReadAllText(Path.Combine(Sources.Root, ".editorconfig")));
        Assert.True(limit.Success, ".editorconfig has no max_line_length under [*.cs].");
        return int.Parse(limit.Groups[1].Value, CultureInfo.InvariantCulture);
    }

    [GeneratedRegex(@"\[\*\.cs\]\s*max_line_length\s*=\s*(\d+)")]
    private static partial Regex CSharpLimit();
}
