namespace NestedLearning.Models.Learning;

/// <summary>
/// A stream of bytes from a random Markov chain: after each pair of symbols a few others can follow, with odds drawn once
/// for the source. Different seeds have different odds for everything, the same symbols.
/// </summary>
public sealed class MarkovSource
{
    private readonly int _symbols;
    private readonly byte _first;
    private readonly float[] _cumulative;

    /// <summary>A source.</summary>
    /// <param name="seed">Chooses the odds.</param>
    /// <param name="symbols">The size of the alphabet, 2 to 256.</param>
    /// <param name="sharpness">How unlike the odds are: each is in proportion to exp(sharpness · normal).</param>
    /// <param name="first">The byte of the first symbol.</param>
    public MarkovSource(ulong seed, int symbols = 16, float sharpness = 3, byte first = (byte)'a')
    {
        if (symbols < 2 || first + symbols > 256)
            throw new ArgumentOutOfRangeException(nameof(symbols), symbols, $"symbols is {symbols}, expected 2 to {256 - first}.");
        (_symbols, _first) = (symbols, first);
        var random = new RandomSource(seed, 0x4D61726B);
        _cumulative = new float[symbols * symbols * symbols];
        for (int context = 0; context < _cumulative.Length; context += symbols)
        {
            double sum = 0;
            double[] odds = new double[symbols];
            for (int s = 0; s < symbols; s++)
                sum += odds[s] = Math.Exp(sharpness * random.Normal());
            double below = 0;
            for (int s = 0; s < symbols; s++)
                _cumulative[context + s] = (float)((below += odds[s]) / sum);
        }
    }

    /// <summary>A stretch of the source: the same seed, part and length give the same bytes.</summary>
    /// <param name="part">Which stretch; different parts are independent.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="entropy">The mean bits a byte of a predictor that knows the odds.</param>
    public byte[] Draw(ulong part, int length, out double entropy)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        var random = new RandomSource(part, 0x42797465);
        byte[] bytes = new byte[length];
        int context = random.Below(_symbols * _symbols);
        entropy = 0;
        for (int i = 0; i < length; i++)
        {
            ReadOnlySpan<float> odds = _cumulative.AsSpan(context * _symbols, _symbols);
            float draw = random.Uniform() * odds[^1];
            int symbol = 0;
            while (odds[symbol] <= draw)
                symbol++;
            entropy -= Math.Log2(odds[symbol] - (symbol == 0 ? 0 : odds[symbol - 1])) / length;
            bytes[i] = (byte)(_first + symbol);
            context = context % _symbols * _symbols + symbol;
        }

        return bytes;
    }
}
