using Xunit;

namespace NestedLearning.Generator.Tests;

/// <summary>The files in the tree are those that the generator makes of their sources now.</summary>
public sealed class GeneratedFilesTests
{
    [Fact]
    public void Files_AreWhatIsMadeOfTheirSources()
    {
        string[] differences = [.. Outputs.Differences(Sources.Root, Made())];
        Assert.True(differences.Length == 0, string.Join('\n', differences));
    }

    [Fact]
    public void Files_NameTheirCommandFirst()
    {
        foreach ((string path, string text) in Made())
            Assert.True(text.Split('\n')[0].Contains($"Made by {Outputs.Command} from native/", StringComparison.Ordinal), path);
    }

    [Fact]
    public void Lines_AreNoLongerThanThoseOfOtherSources()
    {
        foreach ((string path, string text) in Made())
        {
            int limit = path.EndsWith(".cs", StringComparison.Ordinal) ? 140 : 100;
            Assert.DoesNotContain(text.Split('\n'), line => line.Length > limit);
        }
    }

    [Fact]
    public void Interface_HasEveryFieldAndParameterOnce()
    {
        string[] lines = Made()["native/tests/core/interface.inc"].Split('\n');
        foreach (Struct s in Sources.Header.Structs)
        {
            Assert.Single(lines, l => l == $"STRUCT({s.Name})");
            foreach (Field field in s.Fields)
            {
                string kind = field.Type.Pointers == 0 ? "VALUE" : field.Type.IsConst ? "INPUT" : "OUTPUT";
                Assert.Single(lines, l => l == $"{kind}({s.Name}, {field.Type.Name}, {field.Name})");
            }
        }

        foreach (Function function in Sources.Header.Functions)
        {
            int at = Array.IndexOf(lines, $"FUNCTION({function.Name})");
            string[] parameters = [.. lines.Skip(at + 1).TakeWhile(l => l.StartsWith("PARAMETER(", StringComparison.Ordinal))];
            Assert.True(at >= 0, function.Name);
            Assert.Equal(function.Parameters.Select(p => p.Name), parameters.Select(p => p.Split(' ')[^1].TrimEnd(')')));
        }
    }

    [Fact]
    public void ChangedFile_IsReportedWithTheCommand()
    {
        SortedDictionary<string, string> files = Made();
        string folder = Directory.CreateTempSubdirectory().FullName;
        try
        {
            foreach ((string path, string text) in files)
            {
                Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(folder, path))!);
                File.WriteAllText(Path.Combine(folder, path), text);
            }

            Assert.Empty(Outputs.Differences(folder, files));
            string[] paths = [.. files.Keys.Where(p => p.StartsWith(Outputs.BindingsFolder, StringComparison.Ordinal))];
            File.AppendAllText(Path.Combine(folder, paths[0]), "// by hand\n");
            File.Delete(Path.Combine(folder, paths[1]));
            string stranger = $"{Outputs.CudaFolder}/Stranger.cs";
            File.WriteAllText(Path.Combine(folder, stranger), "");
            string[] differences = [.. Outputs.Differences(folder, files)];
            Assert.Equal(3, differences.Length);
            Assert.All(differences, d => Assert.Contains(Outputs.Command, d, StringComparison.Ordinal));
            Assert.Contains(differences, d => d.StartsWith(paths[0], StringComparison.Ordinal));
            Assert.Contains(differences, d => d.StartsWith(paths[1], StringComparison.Ordinal));
            Assert.Contains(differences, d => d.StartsWith(stranger, StringComparison.Ordinal));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static SortedDictionary<string, string> Made() => Outputs.Of(Sources.Header, Sources.Cuda);
}
