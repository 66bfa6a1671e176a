using System.Globalization;
using System.Runtime.CompilerServices;

namespace NestedLearning;

/// <summary>
/// Text with numbers as people write them: 0.99 and not 0.9900000095367432, which is what a float32 of 0.99 becomes in double;
/// 1e-8 and not 1E-08.
/// </summary>
internal static class Readable
{
    /// <summary>An interpolated string whose numbers are written by <see cref="Number(double)"/>.</summary>
    public static string Text(Handler text) => text.ToString();

    /// <summary>A number in the fewest digits that give it back; those of its float32 where it is one.</summary>
    public static string Number(double value)
    {
        string text = (double)(float)value == value
            ? ((float)value).ToString(CultureInfo.InvariantCulture)
            : value.ToString(CultureInfo.InvariantCulture);
        int exponent = text.IndexOf('E', StringComparison.Ordinal);
        if (exponent < 0)
            return text;
        int power = int.Parse(text.AsSpan(exponent + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        return string.Create(CultureInfo.InvariantCulture, $"{text[..exponent]}e{power}");
    }

    /// <summary>Builds the text of <see cref="Text"/>.</summary>
    [InterpolatedStringHandler]
    internal ref struct Handler(int literalLength, int formattedCount)
    {
        private DefaultInterpolatedStringHandler _text = new(literalLength, formattedCount, CultureInfo.InvariantCulture);

        public void AppendLiteral(string value) => _text.AppendLiteral(value);

        public void AppendFormatted(double value) => _text.AppendLiteral(Number(value));

        public void AppendFormatted(float value) => _text.AppendLiteral(Number(value));

        public void AppendFormatted<T>(T value) => _text.AppendFormatted(value);

        public override string ToString() => _text.ToStringAndClear();
    }
}
