using System.IO.Compression;
using System.Text;
using NestedLearning.CommandLine.Tests;
using Xunit;

namespace NestedLearning.CommandLine.Streaming.Tests;

public sealed class TextSourcesTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Folder_IsItsTextFilesInOrder()
    {
        _folder.Write("text/b.txt", "second\n");
        _folder.Write("text/B.txt", "first");
        _folder.Write("text/a/deep/z.md", "before b");
        _folder.Write("text/picture.png", [1, 2, 0, 4]);
        _folder.Write("text/.git/config", "hidden");
        _folder.Write("text/.hidden", "hidden");

        PhaseText text = Assert.Single(TextSources.FromPaths([_folder.File("text")], 1000));
        Assert.Equal("first\nbefore b\nsecond\n", Encoding.UTF8.GetString(text.Bytes));
        Assert.Equal("text", text.Name);
    }

    [Fact]
    public void Text_IsReadAsFarAsAskedFor()
    {
        string first = _folder.Write("text/1", new string('x', 60)), second = _folder.Write("text/2", new string('y', 60));
        Assert.Equal(new string('x', 50), Encoding.UTF8.GetString(TextSources.FromPaths([first], 50)[0].Bytes));
        Assert.Equal(new string('x', 60) + "\n" + new string('y', 39),
            Encoding.UTF8.GetString(TextSources.FromPaths([_folder.File("text")], 100)[0].Bytes));
        Assert.Equal(60, TextSources.FromPaths([second], 50_000_000)[0].Bytes.Length);
    }

    [Fact]
    public void CompressedFile_IsDecompressed()
    {
        using var compressed = new MemoryStream();
        using (var gzip = new GZipStream(compressed, CompressionMode.Compress))
            gzip.Write("Grüße"u8);
        string path = _folder.Write("a.txt.gz", compressed.ToArray());
        Assert.Equal("Grüße", Encoding.UTF8.GetString(TextSources.FromPaths([path], 100)[0].Bytes));
    }

    [Fact]
    public void ByteOrderMark_IsNoText()
    {
        string path = _folder.Write("a.txt", [0xEF, 0xBB, 0xBF, (byte)'a']);
        Assert.Equal("a"u8.ToArray(), TextSources.FromPaths([path], 100)[0].Bytes);
    }

    [Fact]
    public void PathGivenTwice_GetsTwoNames()
    {
        string path = _folder.Write("a.txt", "text");
        Assert.Equal(["a.txt", "a.txt (2)", "a.txt (3)"], TextSources.FromPaths([path, path, path], 100).Select(t => t.Name));
    }

    [Theory]
    [InlineData("nowhere.txt", "does not exist")]
    [InlineData("binary", "it has a zero byte, at byte 1.")]
    [InlineData("empty", "no text files")]
    [InlineData("broken.gz", "cannot be read")]
    public void UnusablePath_IsNamedWithTheReason(string name, string reason)
    {
        _folder.Write("binary", [65, 0, 66]);
        _folder.Write("broken.gz", "not compressed");
        Directory.CreateDirectory(_folder.File("empty"));

        var e = Assert.Throws<StreamException>(() => TextSources.FromPaths([_folder.File(name)], 100));
        Assert.Contains(_folder.File(name), e.Message, StringComparison.Ordinal);
        Assert.Contains(reason, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Prose_IsSentencesWithNamesForReferences()
    {
        WriteDocumentation("Microsoft.NETCore.App.Ref/10.0.2/ref/net10.0/System.Some.xml", """
            <summary>Gets the <see cref="P:System.Some`1.Length" /> of the <paramref name="text" /> as
                it was before <see langword="null" /> came.</summary>
            <remarks><para>Never call <see cref="M:System.Some.Run(System.Int32,System.String)" /> from two threads
            at once. It would wait for itself.</para>
            <code>var x = new Some(); This is code and not a sentence of prose.</code></remarks>
            <returns>The number.</returns>
            <exception cref="T:System.Exception"><paramref name="text" /> is empty and so there is nothing.</exception>
            """);

        string prose = Prose();
        Assert.Equal(
            "Gets the Length of the text as it was before null came.\n" +
            "Never call Run from two threads at once.\n",
            prose);
    }

    [Fact]
    public void Prose_LeavesOutWhatOpensAlike()
    {
        WriteDocumentation("Microsoft.NETCore.App.Ref/10.0.2/ref/net10.0/A.xml", """
            <summary>Initializes a new instance of the BinaryReader class with a stream.</summary>
            <summary>Initializes a new instance of the BinaryWriter class with a stream.</summary>
            <summary>Closes the underlying stream and all that belongs to it.</summary>
            """);
        Assert.Equal(2, Prose().Count(c => c == '\n'));
    }

    [Fact]
    public void Prose_IsFromTheNewestPack_AndEachFileOnce()
    {
        WriteDocumentation("Microsoft.NETCore.App.Ref/9.0.11/ref/net9.0/A.xml",
            "<summary>This is the older text of the documentation.</summary>");
        WriteDocumentation("Microsoft.NETCore.App.Ref/10.0.2/ref/net10.0/A.xml",
            "<summary>This is the newer text of the documentation.</summary>");
        WriteDocumentation("Microsoft.Web.App.Ref/10.0.2/ref/net10.0/A.xml",
            "<summary>This is a copy that is in another pack too.</summary>");
        Assert.Equal("This is the newer text of the documentation.\n", Prose());
    }

    [Fact]
    public void Default_IsProseCodeAndOtherProse()
    {
        string root = Sdk(), repository = Repository();
        IReadOnlyList<PhaseText> texts = TextSources.Default(6000, [_folder.File("nothing"), root],
            [_folder.File("nothing"), Path.Combine(repository, "src")]);

        Assert.Equal(["prose", "code", "prose again"], texts.Select(t => t.Name));
        Assert.All(texts, t => Assert.Equal(6000, t.Bytes.Length));
        Assert.Empty(Lines(texts[0])[..^1].Intersect(Lines(texts[2])[1..]));
        string code = Encoding.UTF8.GetString(texts[1].Bytes);
        Assert.Contains("class", code, StringComparison.Ordinal);
        Assert.DoesNotContain("built", code, StringComparison.Ordinal);
        Assert.DoesNotContain("readme", code, StringComparison.Ordinal);

        IReadOnlyList<PhaseText> again = TextSources.Default(6000, [root], [repository]);
        Assert.All(texts.Zip(again), pair => Assert.Equal(pair.First.Bytes, pair.Second.Bytes));
    }

    [Fact]
    public void Default_WithoutRepositoryOrSdk_SaysWhereItLooked()
    {
        string root = Sdk(), repository = Repository();
        var noCode = Assert.Throws<StreamException>(() => TextSources.Default(6000, [root], [_folder.Path]));
        Assert.Contains("NestedLearning.sln", noCode.Message, StringComparison.Ordinal);
        Assert.Contains(_folder.Path, noCode.Message, StringComparison.Ordinal);

        var noProse = Assert.Throws<StreamException>(() => TextSources.Default(6000, [_folder.File("a"), _folder.File("b")], [repository]));
        Assert.Contains($"{_folder.File("a")}, {_folder.File("b")}", noProse.Message, StringComparison.Ordinal);

        File.Delete(Path.Combine(repository, "src", "Code0.cs"));
        foreach (string file in Directory.GetFiles(Path.Combine(repository, "src")))
            File.Delete(file);
        var littleCode = Assert.Throws<StreamException>(() => TextSources.Default(6000, [root], [repository]));
        Assert.Contains("too little source code", littleCode.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void BrokenDocumentation_IsAnErrorThatNamesTheFile()
    {
        string path = _folder.Write("sdk/packs/A.Ref/1.0.0/ref/net10.0/A.xml", "<doc><members>");
        var e = Assert.Throws<StreamException>(Prose);
        Assert.Contains(path, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void SdkOfThisMachine_HasProseForTwoPhases()
    {
        int needed = 2 * PhasePlan.TextFor(StreamSettings.DefaultBytes);
        (byte[] text, _) = DocumentationProse.Read(DocumentationProse.Roots(), needed);
        Assert.Equal(needed, text.Length);
        // English: spaces and the letter e are the commonest.
        byte[] commonest = [.. text.GroupBy(b => b).OrderByDescending(g => g.Count()).Take(2).Select(g => g.Key)];
        Assert.Equal(" e"u8.ToArray(), commonest);
    }

    private static string[] Lines(PhaseText text) => Encoding.UTF8.GetString(text.Bytes).Split('\n', StringSplitOptions.RemoveEmptyEntries);

    // Below the least text that Read accepts, paragraphs are looked at directly.
    private string Prose() => string.Concat(DocumentationProse.Paragraphs(DocumentationProse.Files(_folder.File("sdk"))));

    private void WriteDocumentation(string path, string contents) =>
        _folder.Write("sdk/packs/" + path, "<?xml version=\"1.0\"?>\n<doc><members><member " +
            $"name=\"M:A\">{contents}</member></members></doc>");

    private string Sdk()
    {
        string[] sentences = Encoding.ASCII.GetString(Texts.Words("abcdefghijklmnopqrstuvwxyz", 30_000, 7)).Split('\n');
        WriteDocumentation(
            "Microsoft.NETCore.App.Ref/10.0.2/ref/net10.0/A.xml",
            string.Join("</member><member>", sentences.Select(s => $"<summary>The {s}.</summary>")));
        return _folder.File("sdk");
    }

    private string Repository()
    {
        _folder.Write("repository/NestedLearning.sln", "");
        _folder.Write("repository/README.md", "readme");
        _folder.Write("repository/artifacts/Built.cs", "built");
        _folder.Write("repository/src/obj/Built.cs", "built");
        for (int i = 0; i < 10; i++)
            _folder.Write($"repository/src/Code{i}.cs", "class\n" + Encoding.ASCII.GetString(Texts.Words("(){};=", 700, (ulong)i)));
        return _folder.File("repository");
    }
}
