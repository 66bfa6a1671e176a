namespace NestedLearning;

/// <summary>
/// Random numbers as a pure function of (seed, stream, index): Philox4x32-10 (Salmon et al., SC 2011). The same on
/// every backend and for every order of work; there is no state to save but the index.
/// </summary>
public readonly struct CounterRandom
{
    private readonly uint _key0;
    private readonly uint _key1;
    private readonly ulong _stream;

    /// <summary>The numbers of one seed and stream; different streams are independent.</summary>
    public CounterRandom(ulong seed, ulong stream = 0)
    {
        _key0 = (uint)seed;
        _key1 = (uint)(seed >> 32);
        _stream = stream;
    }

    /// <summary>Four 32-bit words for a counter value.</summary>
    public (uint A, uint B, uint C, uint D) Block(ulong index)
    {
        uint c0 = (uint)index, c1 = (uint)(index >> 32), c2 = (uint)_stream, c3 = (uint)(_stream >> 32);
        uint k0 = _key0, k1 = _key1;
        for (int round = 0; round < 10; round++)
        {
            ulong p0 = 0xD2511F53UL * c0, p1 = 0xCD9E8D57UL * c2;
            (c0, c1, c2, c3) = ((uint)(p1 >> 32) ^ c1 ^ k0, (uint)p1, (uint)(p0 >> 32) ^ c3 ^ k1, (uint)p0);
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }

        return (c0, c1, c2, c3);
    }

    /// <summary>A 32-bit word.</summary>
    public uint Word(ulong index)
    {
        (uint a, uint b, uint c, uint d) = Block(index >> 2);
        return (index & 3) switch { 0 => a, 1 => b, 2 => c, _ => d };
    }

    /// <summary>A number in [0, 1) with 24 random bits.</summary>
    public float Uniform(ulong index) => (Word(index) >> 8) * (1f / (1 << 24));

    /// <summary>An integer in [0, <paramref name="bound"/>), without bias worth mentioning below 2³² draws.</summary>
    public int Below(ulong index, int bound)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bound);
        return (int)(((ulong)Word(index) * (uint)bound) >> 32);
    }

    /// <summary>A standard normal number (Box–Muller over one counter block a pair).</summary>
    public float Normal(ulong index)
    {
        (uint a, uint b, _, _) = Block(index >> 1);
        // (0, 1], so that the logarithm is finite; evaluated in double so that every platform rounds the same way.
        double u = (a + 1.0) / 4294967296.0, v = b / 4294967296.0;
        double radius = Math.Sqrt(-2 * Math.Log(u));
        return (float)(radius * ((index & 1) == 0 ? Math.Cos(2 * Math.PI * v) : Math.Sin(2 * Math.PI * v)));
    }

    /// <summary>Fills with normal numbers of this standard deviation, from index 0.</summary>
    public void FillNormal(Span<float> destination, float deviation)
    {
        for (int i = 0; i < destination.Length; i++)
            destination[i] = deviation * Normal((ulong)i);
    }

    /// <summary>Fills with numbers uniform between <paramref name="low"/> and <paramref name="high"/>, from index 0.</summary>
    public void FillUniform(Span<float> destination, float low, float high)
    {
        for (int i = 0; i < destination.Length; i++)
            destination[i] = low + (high - low) * Uniform((ulong)i);
    }
}
