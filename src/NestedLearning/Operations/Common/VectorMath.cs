using System.Numerics;
using System.Runtime.CompilerServices;

namespace NestedLearning.Operations;

/// <summary>An element-wise function of one argument, written for a whole vector.</summary>
internal interface IVectorFunction
{
    static abstract Vector<float> Invoke(Vector<float> x);
}

/// <summary>An element-wise function of two arguments, written for a whole vector.</summary>
internal interface IVectorFunction2
{
    static abstract Vector<float> Invoke(Vector<float> x, Vector<float> y);
}

/// <summary>
/// Elementary functions over vectors of float32, within about 2 units in the last place unless said otherwise, without
/// branches: large arguments saturate where the function does, and NaN comes through. No result is subnormal.
/// </summary>
internal static class VectorMath
{
    /// <summary>Below this e^x, less than 2⁻¹²⁶, is 0.</summary>
    private const float ExpLow = -87.33654f;

    /// <summary>Above this e^x is infinite.</summary>
    private const float ExpHigh = 89f;

    /// <summary>
    /// Beyond this |x| the normal distribution's tail is 0: GELU, its derivatives and their tails are less than 2⁻⁶² there, zero to
    /// the last bit of any sum with a term of 2⁻³⁷ or more, float32's 24 bits further up. As numbers of their own such tails
    /// would make gradients that are subnormal. The same in native/core/math-inl.h.
    /// </summary>
    private const float TailEnd = 9.5f;

    /// <summary>e^x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Exp(Vector<float> x)
    {
        Vector<int> under = Vector.LessThan(x, new Vector<float>(ExpLow));

        // x = n log 2 + r with |r| ≤ log(2)/2; log 2 in two parts, the first short enough that n times it is exact.
        x = Vector.Min(Vector.Max(x, new Vector<float>(ExpLow)), new Vector<float>(ExpHigh));
        Vector<float> n = Vector.Round(x * 1.44269504f);
        Vector<float> r = Fma(n, new Vector<float>(-0.693359375f), x);
        r = Fma(n, new Vector<float>(2.12194440e-4f), r);

        Vector<float> p = new(0.00019789959f);
        p = Fma(p, r, new Vector<float>(0.0013945566f));
        p = Fma(p, r, new Vector<float>(0.0083335023f));
        p = Fma(p, r, new Vector<float>(0.041666284f));
        p = Fma(p, r, new Vector<float>(0.16666666f));
        p = Fma(p, r, new Vector<float>(0.5f));
        p = Fma(p, r * r, r) + Vector<float>.One;

        // 2^n in two factors: n reaches past both ends of the exponent's range.
        Vector<int> whole = Vector.ConvertToInt32Native(n);
        Vector<int> half = whole >> 1;
        return Vector.AndNot(p * PowerOfTwo(half) * PowerOfTwo(whole - half), Vector.AsVectorSingle(under));
    }

    /// <summary>log(1 + u) for 0 ≤ u ≤ 1, to full relative accuracy down to u = 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Log1PlusUnit(Vector<float> u)
    {
        // 2 atanh(s) with s = u / (2 + u) ≤ 1/3.
        Vector<float> s = u / (u + new Vector<float>(2f));
        Vector<float> y = s * s;
        Vector<float> p = new(0.12206534f);
        p = Fma(p, y, new Vector<float>(0.10696625f));
        p = Fma(p, y, new Vector<float>(0.14310361f));
        p = Fma(p, y, new Vector<float>(0.19999346f));
        p = Fma(p, y, new Vector<float>(0.3333334f));
        Vector<float> twice = s + s;
        return Fma(p * y, twice, twice);
    }

    /// <summary>1 / (1 + e^−x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Sigmoid(Vector<float> x)
    {
        Vector<float> e = Exp(-Vector.Abs(x));
        Vector<float> numerator = Vector.ConditionalSelect(Vector.LessThan(x, Vector<float>.Zero), e, Vector<float>.One);
        return numerator / (Vector<float>.One + e);
    }

    /// <summary>sigmoid'(x) = sigmoid(x) sigmoid(−x), without the cancellation of 1 − sigmoid(x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> SigmoidDerivative(Vector<float> x)
    {
        Vector<float> e = Exp(-Vector.Abs(x));
        Vector<float> d = Vector<float>.One + e;
        return e / (d * d);
    }

    /// <summary>log(1 + e^x) = max(x, 0) + log(1 + e^−|x|).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Softplus(Vector<float> x) =>
        Vector.Max(x, Vector<float>.Zero) + Log1PlusUnit(Exp(-Vector.Abs(x)));

    /// <summary>x Φ(x); 0 at −∞.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Gelu(Vector<float> x)
    {
        NormalDistribution(x, out Vector<float> cumulative, out _);
        return Vector.Max(x, new Vector<float>(-TailEnd)) * cumulative;
    }

    /// <summary>Φ(x) + x φ(x) with φ the normal density: the derivative of x Φ(x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> GeluDerivative(Vector<float> x)
    {
        NormalDistribution(x, out Vector<float> cumulative, out Vector<float> bell);
        Vector<float> clamped = Vector.Max(Vector.Min(x, new Vector<float>(TailEnd)), new Vector<float>(-TailEnd));
        return Fma(clamped * 0.39894228f, bell, cumulative);
    }

    /// <summary>(2 − x²) φ(x): the second derivative of x Φ(x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> GeluSecondDerivative(Vector<float> x)
    {
        Vector<float> clamped = Vector.Max(Vector.Min(x, new Vector<float>(TailEnd)), new Vector<float>(-TailEnd));
        Vector<float> square = clamped * clamped;
        Vector<float> curvature = (new Vector<float>(2f) - square) * 0.39894228f * Exp(square * -0.5f);
        return Vector.AndNot(curvature, BeyondTail(x));
    }

    /// <summary>Φ(x) = (1 + erf(x/√2)) / 2, to full relative accuracy in the left tail too, and bell = e^(−x²/2).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void NormalDistribution(Vector<float> x, out Vector<float> cumulative, out Vector<float> bell)
    {
        Vector<float> a = Vector.Min(Vector.Abs(x), new Vector<float>(TailEnd));

        // e^(−a²/2) with the rounding error of a² put back (it is 0 on hardware without a fused multiply-add).
        Vector<float> square = a * a;
        Vector<float> lost = Fma(a, a, -square);
        bell = Exp(square * -0.5f);
        bell = Vector.AndNot(Fma(bell, lost * -0.5f, bell), BeyondTail(x));

        // Φ(−a) = e^(−a²/2) t P(t), t = 1 / (1 + 0.24 a): P fitted for least relative error (4e−9).
        Vector<float> t = Vector<float>.One / Fma(a, new Vector<float>(0.24f), Vector<float>.One);
        Vector<float> p = new(0.02548834f);
        p = Fma(p, t, new Vector<float>(-0.12448430f));
        p = Fma(p, t, new Vector<float>(0.20524864f));
        p = Fma(p, t, new Vector<float>(-0.14414319f));
        p = Fma(p, t, new Vector<float>(0.14150506f));
        p = Fma(p, t, new Vector<float>(0.02803408f));
        p = Fma(p, t, new Vector<float>(0.08783834f));
        p = Fma(p, t, new Vector<float>(0.08890992f));
        p = Fma(p, t, new Vector<float>(0.0958613f));
        p = Fma(p, t, new Vector<float>(0.0957418f));
        Vector<float> tail = bell * (p * t);
        cumulative = Vector.ConditionalSelect(Vector.LessThan(x, Vector<float>.Zero), tail, Vector<float>.One - tail);
    }

    /// <summary>All bits where |x| is beyond the tail's end; none for NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector<float> BeyondTail(Vector<float> x) =>
        Vector.AsVectorSingle(Vector.GreaterThan(Vector.Abs(x), new Vector<float>(TailEnd)));

    /// <summary>y = f(x) for each element, flushed. y may be x.</summary>
    public static void Map<TFunction>(ReadOnlySpan<float> x, Span<float> y)
        where TFunction : struct, IVectorFunction
    {
        int width = Vector<float>.Count;
        int i = 0;
        for (; i <= x.Length - width; i += width)
            Subnormals.Flush(TFunction.Invoke(new Vector<float>(x[i..]))).CopyTo(y[i..]);
        if (i < x.Length)
            StorePart(Subnormals.Flush(TFunction.Invoke(LoadPart(x[i..]))), y[i..]);
    }

    /// <summary>z = f(x, y) for each element, flushed. z may be x or y.</summary>
    public static void Map<TFunction>(ReadOnlySpan<float> x, ReadOnlySpan<float> y, Span<float> z)
        where TFunction : struct, IVectorFunction2
    {
        int width = Vector<float>.Count;
        int i = 0;
        for (; i <= x.Length - width; i += width)
            Subnormals.Flush(TFunction.Invoke(new Vector<float>(x[i..]), new Vector<float>(y[i..]))).CopyTo(z[i..]);
        if (i < x.Length)
            StorePart(Subnormals.Flush(TFunction.Invoke(LoadPart(x[i..]), LoadPart(y[i..]))), z[i..]);
    }

    /// <summary>x y + z, fused where the hardware does that.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<float> Fma(Vector<float> x, Vector<float> y, Vector<float> z) => Vector.MultiplyAddEstimate(x, y, z);

    /// <summary>The fewer than a vector's elements that end a row, followed by zeros.</summary>
    public static Vector<float> LoadPart(ReadOnlySpan<float> source)
    {
        Span<float> padded = stackalloc float[Vector<float>.Count];
        padded.Clear();
        source.CopyTo(padded);
        return new Vector<float>(padded);
    }

    /// <summary>As many of the first elements as <paramref name="destination"/> takes.</summary>
    public static void StorePart(Vector<float> source, Span<float> destination)
    {
        Span<float> padded = stackalloc float[Vector<float>.Count];
        source.CopyTo(padded);
        padded[..destination.Length].CopyTo(destination);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector<float> PowerOfTwo(Vector<int> n) => Vector.AsVectorSingle((n + new Vector<int>(127)) << 23);
}
