using System.Numerics;
using System.Runtime.CompilerServices;

namespace NestedLearning.Operations;

/// <summary>
/// Subnormal numbers are zeros here too. The native kernels have the processor flush them; .NET cannot, so what a kernel keeps
/// or hands on goes through here: each subnormal number becomes a zero of its sign, and NaN stays NaN. A quantity that decays
/// then ends at zero, and is not slow for ever: Intel's processors take a hundred cycles and more for an instruction that
/// meets a subnormal number. It is done with integers, which are never slow.
/// </summary>
internal static class Subnormals
{
    private const int Exponent = 0x7F800000, Magnitude = 0x7FFFFFFF;

    // The bits of 2⁻⁶³.
    private const int LeastSquared = (127 - 63) << 23;

    /// <summary>x, its subnormal elements zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Flush(Vector<float> x)
    {
        Vector<int> bits = Vector.AsVectorInt32(x);
        Vector<int> small = Vector.Equals(bits & new Vector<int>(Exponent), Vector<int>.Zero);
        return Vector.AsVectorSingle(Vector.AndNot(bits, small & new Vector<int>(Magnitude)));
    }

    /// <summary>
    /// x², flushed: 0 where |x| is below 2⁻⁶³, which is when the square is below 2⁻¹²⁶. The square that would be subnormal is not made.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Square(Vector<float> x)
    {
        Vector<int> small = Vector.LessThan(Vector.AsVectorInt32(x) & new Vector<int>(Magnitude), new Vector<int>(LeastSquared));
        Vector<float> kept = Vector.AndNot(x, Vector.AsVectorSingle(small));
        return kept * kept;
    }

    /// <summary>x, or a zero of its sign where it is subnormal.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Flush(float x)
    {
        int bits = BitConverter.SingleToInt32Bits(x);
        return (bits & Exponent) == 0 ? BitConverter.Int32BitsToSingle(bits & ~Magnitude) : x;
    }

    /// <summary>
    /// Lanes that are not 0 where |x| is neither 0 nor between 2^<paramref name="low"/> and 2^<paramref name="high"/>; of NaN too. Where
    /// all that an expression reads lies between bounds that keep its every result above 2⁻¹²⁶, nothing in it is to be flushed.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<int> Outside(Vector<float> x, int low, int high)
    {
        Vector<int> magnitude = Vector.AsVectorInt32(x) & new Vector<int>(Magnitude);
        return Below(x, low) | Vector.GreaterThan(magnitude, new Vector<int>((high + 127) << 23));
    }

    /// <summary>Lanes that are not 0 where 0 &lt; |x| &lt; 2^<paramref name="low"/>, for what has no bound above.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<int> Below(Vector<float> x, int low)
    {
        Vector<int> magnitude = Vector.AsVectorInt32(x) & new Vector<int>(Magnitude);
        return Vector.GreaterThan(new Vector<int>((low + 127) << 23), magnitude) & Vector.GreaterThan(magnitude, Vector<int>.Zero);
    }

    /// <summary>Whether a constant is 0 or its magnitude between these powers of two.</summary>
    public static bool IsBetween(float constant, int low, int high) =>
        constant == 0 || (MathF.Abs(constant) >= MathF.ScaleB(1, low) && MathF.Abs(constant) <= MathF.ScaleB(1, high));

    /// <summary>Flushes each element where it lies.</summary>
    public static unsafe void Flush(Span<float> x)
    {
        fixed (float* start = x)
        {
            int i = 0;
            for (; i <= x.Length - Vector<float>.Count; i += Vector<float>.Count)
                Vector.Store(Flush(Vector.Load(start + i)), start + i);
            for (; i < x.Length; i++)
                start[i] = Flush(start[i]);
        }
    }
}
