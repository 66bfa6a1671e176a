using System.IO.Compression;
using NestedLearning.CommandLine.Streaming;

namespace NestedLearning.Reliability.Fuzzing;

/// <summary>Compressed text of <c>nl stream</c>.</summary>
internal sealed class GzipTarget : FuzzTarget
{
    public override string Name => "gzip";

    public override IReadOnlyList<string> Words { get; } = ["\u001f", "\b", "\0\0\0\0\0\0\0\0"];

    public override IEnumerable<byte[]> Seeds()
    {
        byte[] text = new Text().At(0, 3000).ToArray();
        foreach (CompressionLevel level in Enum.GetValues<CompressionLevel>())
        {
            using var compressed = new MemoryStream();
            using (var gzip = new GZipStream(compressed, level, leaveOpen: true))
                gzip.Write(text);
            yield return compressed.ToArray();
        }
    }

    public override void Run(ReadOnlySpan<byte> input)
    {
        using var stream = new MemoryStream(input.ToArray(), writable: false);
        GzipReader.Decompress([], stream, static _ => { });
    }

    public override bool IsRefusal(Exception error) => error is InvalidDataException;
}
