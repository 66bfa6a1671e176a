using System.Text.RegularExpressions;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>That what the sources cite of docs/specification.md is there.</summary>
public sealed partial class SpecificationTests
{
    private static readonly string[] s_extensions = [".cs", ".h", ".cc", ".c", ".cu", ".cuh", ".md", ".py", ".sh"];

    [Fact]
    public void EveryCitedSection_Exists()
    {
        string root = SharedFiles.RequireRepository();
        string specification = File.ReadAllText(Path.Combine(root, "docs", "specification.md"));
        HashSet<string> sections = [.. Heading().Matches(specification).Select(m => m.Groups[1].Value)];
        Assert.Equal(["1", "2", "3", "4", "5", "6", "7", "8"], sections.Order(StringComparer.Ordinal));
        int citations = 0;
        foreach (string path in Sources(root))
        {
            foreach (Match citation in Citation().Matches(File.ReadAllText(path)))
            {
                foreach (Match section in Number().Matches(citation.Groups[1].Value))
                {
                    string message = $"{path} cites section {section.Value} of docs/specification.md, which has none.";
                    Assert.True(sections.Contains(section.Value), message);
                    citations++;
                }
            }
        }

        Assert.True(citations > 40, $"{citations} citations were found, expected the sources to have more than 40.");
    }

    [Fact]
    public void Citations_HaveOneForm()
    {
        string root = SharedFiles.RequireRepository();
        foreach (string path in Sources(root))
        {
            Match other = OtherForm().Match(File.ReadAllText(path));
            Assert.False(other.Success, $"{path} has '{other.Value}', expected 'docs/specification.md, section N'.");
        }
    }

    private static IEnumerable<string> Sources(string root) =>
        from folder in (string[])["src", "tests", "docs", "native", "bindings", "benchmarks", "samples", "tools"]
        from path in Directory.EnumerateFiles(Path.Combine(root, folder), "*", SearchOption.AllDirectories)
        where s_extensions.Contains(Path.GetExtension(path)) && Path.GetFileName(path) != "SpecificationTests.cs"
        select path;

    [GeneratedRegex(@"^## (\d+)\. ", RegexOptions.Multiline)]
    private static partial Regex Heading();

    // "docs/specification.md, section 6" and, as a link within docs, "[specification.md](specification.md), sections 3 and 4".
    [GeneratedRegex(@"specification\.md\)?,\s+(?:///?\s+)?(sections?\s+\d+(?:(?:,| and| or)\s+\d+)*)")]
    private static partial Regex Citation();

    [GeneratedRegex(@"\d+")]
    private static partial Regex Number();

    [GeneratedRegex(@"\b[Ss]pec(?:\.md)?,? sections? \d|sections? \d of the specification|specification's section")]
    private static partial Regex OtherForm();
}
