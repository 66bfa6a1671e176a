namespace NestedLearning.Operations;

/// <summary>How a sequence falls into chunks when tokens of its first chunk came before it.</summary>
/// <param name="Chunk">Tokens a chunk.</param>
/// <param name="Phase">Tokens of the first chunk that came before the sequence.</param>
/// <param name="Time">T.</param>
internal readonly record struct ChunkPlan(int Chunk, int Phase, int Time)
{
    /// <summary>So many tokens inside one chunk, neither its first nor its last.</summary>
    public static ChunkPlan Inside(int tokens) => new(tokens + 2, 1, tokens);

    /// <summary>The number of chunks that have a token in the sequence.</summary>
    public int Count => Time == 0 ? 0 : (int)(((long)Phase + Time + Chunk - 1) / Chunk);

    /// <summary>Tokens of the chunk that the next token belongs to.</summary>
    public int NextPhase => (int)(((long)Phase + Time) % Chunk);

    /// <summary>The most tokens of one chunk.</summary>
    public int Longest => Math.Min(Chunk, Time);

    /// <summary>A chunk's first token in the sequence.</summary>
    public int Start(int index) => Math.Max(0, index * Chunk - Phase);

    /// <summary>A chunk's tokens in the sequence.</summary>
    public int Length(int index) => (int)Math.Min((index + 1L) * Chunk - Phase, Time) - Start(index);

    /// <summary>Whether a chunk began before the sequence, with a memory of its own at its start.</summary>
    public bool BeganBefore(int index) => index == 0 && Phase > 0;

    /// <summary>Checks the chunk and the phase.</summary>
    public static void Validate(ChunkPlan settings)
    {
        if (settings.Chunk is < 1 or > ScanSettings.MaxChunk)
            throw new ArgumentOutOfRangeException(nameof(settings), settings.Chunk,
                $"The chunk is {settings.Chunk} tokens, expected 1 to {ScanSettings.MaxChunk}.");
        if (settings.Phase < 0 || settings.Phase >= settings.Chunk)
            throw new ArgumentOutOfRangeException(nameof(settings), settings.Phase,
                $"The phase is {settings.Phase} tokens, expected 0 to {settings.Chunk - 1}.");
    }
}
