using System.Runtime.InteropServices;
using System.Text;
using System.Xml;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>
/// English prose from the XML documentation in the SDK's reference packs
/// (<c>packs/*.Ref/VERSION/ref/FRAMEWORK/*.xml</c>): whole sentences, one a line.
/// </summary>
internal static class DocumentationProse
{
    // Sentences that open alike, names set aside, say the same of another type; one of them is enough.
    private const int OpeningWords = 8;
    private const int FewestWords = 6;
    private const double LeastLetters = 0.9;
    private static readonly string[] s_kinds = ["summary", "remarks", "param", "typeparam", "returns", "value", "exception"];

    /// <summary>Folders in which an SDK may lie, the most certain first.</summary>
    public static IReadOnlyList<string> Roots()
    {
        var roots = new List<string?> { Environment.GetEnvironmentVariable("DOTNET_ROOT") };
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet")
            roots.Add(Path.GetDirectoryName(Environment.ProcessPath));
        // …/shared/Microsoft.NETCore.App/VERSION/
        roots.Add(Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..")));
        string executable = OperatingSystem.IsWindows() ? "dotnet.exe" : "dotnet";
        foreach (string folder in (Environment.GetEnvironmentVariable("PATH") ?? "")
            .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries))
        {
            var file = new FileInfo(Path.Combine(folder, executable));
            if (file.Exists)
                roots.Add(Path.GetDirectoryName(file.ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? file.FullName));
        }

        return [.. roots.Where(r => !string.IsNullOrEmpty(r)).Select(r => Path.TrimEndingDirectorySeparator(r!)).Distinct()];
    }

    /// <summary>At most this many bytes of prose, always the same for the same packs.</summary>
    /// <exception cref="StreamException">No root has reference packs, or they hold too little.</exception>
    public static (byte[] Text, string Source) Read(IReadOnlyList<string> roots, int bytes)
    {
        foreach (string root in roots)
        {
            IReadOnlyList<string> files = Files(root);
            if (files.Count == 0)
                continue;
            byte[] text = Write(Paragraphs(files), bytes);
            if (text.Length < 2 * PhasePlan.LeastText)
                throw new StreamException($"The XML documentation in {Path.Combine(root, "packs")} has only {text.Length:N0} bytes of " +
                    $"prose. {WayOut}");
            return (text, $"XML documentation in {Path.Combine(root, "packs")}");
        }

        throw new StreamException("There is no XML documentation of an SDK: no packs/*.Ref/*/ref/*/*.xml in " +
            $"{string.Join(", ", roots)}. {WayOut}");
    }

    private static string WayOut => "Install the .NET SDK, or name the text of each phase: nl stream FILE-OR-FOLDER…";

    /// <summary>The documentation of the newest version of each pack. Packs hold one another's files; each is read once.</summary>
    internal static IReadOnlyList<string> Files(string root)
    {
        string packs = Path.Combine(root, "packs");
        if (!Directory.Exists(packs))
            return [];
        var files = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (string pack in Directory.GetDirectories(packs, "*.Ref").Order(StringComparer.Ordinal))
        {
            if (Newest(pack) is not { } version || !Directory.Exists(Path.Combine(version, "ref"))
                || Newest(Path.Combine(version, "ref")) is not { } framework)
                continue;
            foreach (string file in Directory.GetFiles(framework, "*.xml"))
                files.TryAdd(Path.GetFileName(file), file);
        }

        return [.. files.Values];
    }

    private static string? Newest(string folder) =>
        Directory.GetDirectories(folder)
            .OrderBy(d => VersionOf(Path.GetFileName(d)))
            .ThenBy(d => d, StringComparer.Ordinal)
            .LastOrDefault();

    // 10.0.12, 10.0.0-rc.1.25451.107, net10.0
    private static Version VersionOf(string name)
    {
        string digits = name.TrimStart([.. "abcdefghijklmnopqrstuvwxyz"]).Split('-')[0];
        return Version.TryParse(digits, out Version? version) ? version : new Version(0, 0);
    }

    private static byte[] Write(List<string> paragraphs, int bytes)
    {
        FixedOrder.Shuffle(paragraphs);
        using var text = new MemoryStream();
        foreach (string paragraph in paragraphs)
        {
            text.Write(Encoding.UTF8.GetBytes(paragraph));
            if (text.Length >= bytes)
                break;
        }

        return text.GetBuffer().AsSpan(0, (int)Math.Min(text.Length, bytes)).ToArray();
    }

    /// <summary>The sentences of each documented member, one a line, every one only once.</summary>
    internal static List<string> Paragraphs(IReadOnlyList<string> files)
    {
        var paragraphs = new List<string>();
        var openings = new HashSet<string>();
        var settings = new XmlReaderSettings
        {
            IgnoreComments = true, IgnoreProcessingInstructions = true, DtdProcessing = DtdProcessing.Prohibit,
        };
        var text = new StringBuilder();
        var paragraph = new StringBuilder();
        foreach (string file in files)
        {
            try
            {
                using var reader = XmlReader.Create(file, settings);
                while (reader.Read())
                {
                    if (reader.NodeType == XmlNodeType.EndElement && reader.LocalName == "member" && paragraph.Length > 0)
                    {
                        paragraphs.Add(paragraph.ToString());
                        paragraph.Clear();
                    }

                    if (reader.NodeType != XmlNodeType.Element || !s_kinds.Contains(reader.LocalName))
                        continue;
                    AppendText(reader, text.Clear());
                    foreach (string sentence in Sentences(text.ToString()))
                    {
                        if (IsProse(sentence) && openings.Add(Opening(sentence)))
                            paragraph.Append(sentence).Append('\n');
                    }
                }
            }
            catch (Exception e) when (e is XmlException or IOException or UnauthorizedAccessException)
            {
                throw new StreamException($"'{file}' cannot be read: {e.Message}", e);
            }
        }

        return paragraphs;
    }

    /// <summary>The text of an element, with names in place of references and line ends between its paragraphs.</summary>
    private static void AppendText(XmlReader reader, StringBuilder text)
    {
        if (reader.IsEmptyElement)
            return;
        int depth = reader.Depth, skipped = int.MaxValue;
        while (reader.Read() && reader.Depth > depth)
        {
            if (reader.Depth > skipped)
                continue;
            skipped = int.MaxValue;
            switch (reader.NodeType)
            {
                case XmlNodeType.Text or XmlNodeType.CDATA or XmlNodeType.Whitespace or XmlNodeType.SignificantWhitespace:
                    foreach (char c in reader.Value)
                        text.Append(char.IsWhiteSpace(c) ? ' ' : c);
                    break;
                case XmlNodeType.Element:
                    switch (reader.LocalName)
                    {
                        case "see" or "seealso" or "paramref" or "typeparamref" when reader.IsEmptyElement:
                            text.Append(ReferredName(reader));
                            break;
                        case "code" or "table" when !reader.IsEmptyElement:
                            skipped = reader.Depth;
                            text.Append('\n');
                            break;
                        case "para" or "br" or "list" or "item":
                            text.Append('\n');
                            break;
                    }

                    break;
                case XmlNodeType.EndElement when reader.LocalName is "para" or "item" or "list":
                    text.Append('\n');
                    break;
            }
        }
    }

    // M:System.IO.Stream.Read(System.Byte[],System.Int32) is "Read", T:System.Span`1 is "Span".
    private static string ReferredName(XmlReader reader)
    {
        if (reader.GetAttribute("cref") is not { } reference)
            return reader.GetAttribute("name") ?? reader.GetAttribute("langword") ?? "";
        ReadOnlySpan<char> name = reference.AsSpan(reference.IndexOf(':', StringComparison.Ordinal) + 1);
        if (name.IndexOf('(') is >= 0 and int arguments)
            name = name[..arguments];
        name = name[(name.LastIndexOf('.') + 1)..];
        return (name.IndexOf('`') is >= 0 and int arity ? name[..arity] : name).ToString();
    }

    private static IEnumerable<string> Sentences(string text)
    {
        foreach (string line in text.Split('\n'))
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            int from = 0;
            for (int i = 0; i < words.Length; i++)
            {
                bool ends = i + 1 == words.Length || (words[i][^1] is '.' or '!' or '?' && char.IsAsciiLetterUpper(words[i + 1][0]));
                if (!ends)
                    continue;
                yield return string.Join(' ', words[from..(i + 1)]);
                from = i + 1;
            }
        }
    }

    private static bool IsProse(string sentence)
    {
        if (!char.IsAsciiLetterUpper(sentence[0]) || sentence[^1] is not ('.' or '!' or '?'))
            return false;
        int letters = 0, spaces = 0;
        foreach (char c in sentence)
        {
            letters += char.IsAsciiLetter(c) ? 1 : 0;
            spaces += c == ' ' ? 1 : 0;
        }

        return spaces + 1 >= FewestWords && letters + spaces >= LeastLetters * sentence.Length;
    }

    private static string Opening(string sentence)
    {
        string[] words = sentence.Split(' ');
        return string.Join(' ', words.Take(OpeningWords).Select(w => IsName(w) ? "_" : w.ToLowerInvariant()));
    }

    private static bool IsName(string word)
    {
        for (int i = 1; i < word.Length; i++)
        {
            if (char.IsAsciiLetterUpper(word[i]) || char.IsAsciiDigit(word[i]) || (word[i] is '.' && i + 1 < word.Length))
                return true;
        }

        return false;
    }
}
