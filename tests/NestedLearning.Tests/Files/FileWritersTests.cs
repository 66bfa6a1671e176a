using System.Text.RegularExpressions;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>That whatever writes a file does it by <see cref="SafeFile"/>.</summary>
public sealed partial class FileWritersTests
{
    [Fact]
    public void NothingElseWritesFiles()
    {
        string root = SharedFiles.RequireRepository();
        string own = Path.Combine(root, "src", "NestedLearning", "Files") + Path.DirectorySeparatorChar;
        string[] sources = [.. from folder in (string[])["src", "benchmarks"]
                               from path in Directory.GetFiles(Path.Combine(root, folder), "*.cs", SearchOption.AllDirectories)
                               where !path.StartsWith(own, StringComparison.Ordinal)
                               select path];
        Assert.True(sources.Length > 200, $"{sources.Length} sources were found, expected all of the repository's.");
        string[] writers = [.. sources.SelectMany(path => FileWriting().Matches(File.ReadAllText(path)).Select(m => $"{path}: {m.Value}"))];
        Assert.Empty(writers);
    }

    [GeneratedRegex(@"\bFile\.(WriteAll\w+|AppendAll\w+|Create\(|CreateText|OpenWrite|AppendText|Move|Copy|Replace|OpenHandle)"
        + @"|\bnew (StreamWriter|BinaryWriter)\(|\bFileMode\.(Create|CreateNew|Append|Truncate|OpenOrCreate)\b"
        + @"|\bFileAccess\.(Write|ReadWrite)\b")]
    private static partial Regex FileWriting();
}
