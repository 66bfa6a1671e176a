namespace NestedLearning.Reliability;

/// <summary>As many bytes of text as are asked for: the repository's documents and sources, over and over.</summary>
internal sealed class Text
{
    private readonly byte[] _bytes;

    public Text()
    {
        string[] folders = ["docs", "src", "native"];
        _bytes =
        [
            .. folders.Select(folder => Path.Combine(Repository.Root, folder))
                .SelectMany(folder => Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories))
                .Where(file => Path.GetExtension(file) is ".md" or ".cs" or ".h" or ".cc").Order(StringComparer.Ordinal)
                .SelectMany(File.ReadAllBytes),
        ];
    }

    /// <summary>Bytes from a position on, at most so many.</summary>
    public ReadOnlySpan<byte> At(long position, int most)
    {
        int first = (int)(position % _bytes.Length);
        return _bytes.AsSpan(first, Math.Min(most, _bytes.Length - first));
    }
}
