using System.Security.Cryptography;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>Text for one phase, before it is divided.</summary>
/// <param name="Name">What the phase is called in tables.</param>
/// <param name="Source">Where the text is from.</param>
/// <param name="Bytes">The text, as much as was asked for or as there is.</param>
internal sealed record PhaseText(string Name, string Source, byte[] Bytes);

/// <summary>One phase of the stream.</summary>
internal sealed class Phase
{
    public required int Index { get; init; }

    public required string Name { get; init; }

    public required string Source { get; init; }

    /// <summary>The bytes that learners predict and learn from.</summary>
    public required byte[] Text { get; init; }

    /// <summary>The bytes that no learner is ever trained on.</summary>
    public required byte[] HeldOut { get; init; }

    /// <summary>Where the phase begins in the stream, in bytes.</summary>
    public required long Start { get; init; }

    public long End => Start + Text.Length;

    /// <summary>The first of the phase's loss blocks among those of the whole stream.</summary>
    public required int FirstBlock { get; init; }

    public int Blocks => (Text.Length + PhasePlan.BlockLength - 1) / PhasePlan.BlockLength;

    /// <summary>A hash over the text and the held-out part.</summary>
    public required string Sha256 { get; init; }

    /// <summary>The number of bytes in one of the phase's blocks; the last may be shorter.</summary>
    public int BytesOfBlock(int block) => Math.Min(PhasePlan.BlockLength, Text.Length - block * PhasePlan.BlockLength);
}

/// <summary>Which bytes every learner reads in which order, and which are held out.</summary>
internal sealed class PhasePlan
{
    /// <summary>Losses are kept as sums over blocks of this many bytes, counted from each phase's start.</summary>
    public const int BlockLength = 256;

    /// <summary>The least text that a phase can have: less says nothing about learning.</summary>
    public const int LeastText = 4096;

    // The held-out part is taken from several places, since text is seldom the same from start to end.
    private const int HeldOutPieces = 4;

    private PhasePlan(IReadOnlyList<Phase> phases) => Phases = phases;

    public IReadOnlyList<Phase> Phases { get; }

    public long Length => Phases[^1].End;

    public int Blocks => Phases[^1].FirstBlock + Phases[^1].Blocks;

    /// <summary>How much text a phase of this many streamed bytes takes, its held-out part included.</summary>
    public static int TextFor(int bytes) => bytes + HeldOutFor(bytes);

    /// <param name="texts">One text a phase.</param>
    /// <param name="bytes">The most bytes that a phase streams.</param>
    /// <exception cref="StreamException">There is no phase, or one has too little text.</exception>
    public static PhasePlan Create(IReadOnlyList<PhaseText> texts, int bytes)
    {
        if (texts.Count == 0)
            throw new StreamException("There is no text to stream.");
        var phases = new List<Phase>();
        long start = 0;
        int block = 0;
        foreach (PhaseText text in texts)
        {
            if (text.Bytes.Length < LeastText)
                throw new StreamException($"'{text.Name}' ({text.Source}) has {text.Bytes.Length:N0} bytes of text, a phase needs at " +
                    $"least {LeastText:N0}.");
            int taken = Math.Min(text.Bytes.Length, TextFor(bytes));
            (byte[] streamed, byte[] heldOut) = Divide(text.Bytes.AsSpan(0, taken), HeldOutFor(Math.Min(bytes, taken)));
            var phase = new Phase
            {
                Index = phases.Count,
                Name = text.Name,
                Source = text.Source,
                Text = streamed,
                HeldOut = heldOut,
                Start = start,
                FirstBlock = block,
                Sha256 = Hash(streamed, heldOut),
            };
            phases.Add(phase);
            start = phase.End;
            block += phase.Blocks;
        }

        return new PhasePlan(phases);
    }

    /// <summary>The phase that the byte at a position belongs to.</summary>
    public Phase At(long position)
    {
        foreach (Phase phase in Phases)
        {
            if (position < phase.End)
                return phase;
        }

        throw new ArgumentOutOfRangeException(nameof(position), position, $"The stream has {Length} bytes.");
    }

    private static int HeldOutFor(int bytes) => Math.Clamp(bytes / 32, 512, 8192) / HeldOutPieces * HeldOutPieces;

    private static (byte[] Streamed, byte[] HeldOut) Divide(ReadOnlySpan<byte> text, int heldOutLength)
    {
        int piece = heldOutLength / HeldOutPieces;
        var streamed = new List<byte>(text.Length);
        var heldOut = new List<byte>(heldOutLength);
        int from = 0;
        for (int i = 1; i <= HeldOutPieces; i++)
        {
            int cut = Math.Max(from, NextLine(text, (int)((long)text.Length * i / (HeldOutPieces + 1))));
            streamed.AddRange(text[from..cut]);
            from = Math.Min(text.Length, cut + piece);
            heldOut.AddRange(text[cut..from]);
        }

        streamed.AddRange(text[from..]);
        return ([.. streamed], [.. heldOut]);
    }

    private static int NextLine(ReadOnlySpan<byte> text, int position)
    {
        int end = text.Slice(position, Math.Min(BlockLength, text.Length - position)).IndexOf((byte)'\n');
        return end < 0 ? position : position + end + 1;
    }

    private static string Hash(byte[] streamed, byte[] heldOut)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(streamed);
        hash.AppendData(heldOut);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
