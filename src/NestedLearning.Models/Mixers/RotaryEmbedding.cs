namespace NestedLearning.Models;

/// <summary>
/// Rotary position embedding (Su et al., arXiv 2104.09864): elements i and i + D/2 of a head are turned together by the angle
/// n · base^(−2i/D) at position n, so that a score depends on the distance of its tokens.
/// </summary>
internal sealed class RotaryEmbedding(int width, float radix)
{
    // Positions whose rows are kept once they were computed: 4 MiB for heads of 64.
    private const int MostKept = 1 << 14;

    private float[] _kept = [];

    private int Half => width / 2;

    /// <summary>The table [T, 2 ⌊D/2⌋] of tokens from a position on: cosines, then sines. The tape disposes it.</summary>
    /// <param name="tape">What it is used on.</param>
    /// <param name="time">T.</param>
    /// <param name="position">The position of the first token.</param>
    /// <param name="tokensPerPosition">How many neighbouring tokens share a position.</param>
    public Tensor Table(Tape tape, int time, long position, int tokensPerPosition)
    {
        int row = 2 * Half;
        long end = position + (time - 1) / tokensPerPosition + 1;
        if (tokensPerPosition == 1 && end <= MostKept)
            return tape.Keep(tape.Device.From([time, row], Kept((int)end).AsSpan((int)position * row, time * row)));
        float[] table = new float[time * row];
        for (int t = 0; t < time; t++)
            Fill(table.AsSpan(t * row, row), position + t / tokensPerPosition);
        return tape.Keep(tape.Device.From([time, row], table));
    }

    // Threads that get here together compute the same rows.
    private float[] Kept(int positions)
    {
        float[] kept = _kept;
        int row = 2 * Half, filled = row == 0 ? positions : kept.Length / row;
        if (positions <= filled)
            return kept;
        float[] longer = new float[Math.Max(positions, Math.Min(MostKept, 2 * filled)) * row];
        kept.CopyTo(longer, 0);
        for (int n = filled; n < longer.Length / row; n++)
            Fill(longer.AsSpan(n * row, row), n);
        return _kept = longer;
    }

    private void Fill(Span<float> row, long position)
    {
        for (int i = 0; i < Half; i++)
        {
            double angle = position * Math.Pow(radix, -2.0 * i / width);
            (row[i], row[Half + i]) = ((float)Math.Cos(angle), (float)Math.Sin(angle));
        }
    }
}
