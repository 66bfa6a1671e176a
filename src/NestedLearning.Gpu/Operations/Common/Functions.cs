using ILGPU;
using ILGPU.Algorithms;

namespace NestedLearning.Gpu.Kernels;

/// <summary>
/// Elementary functions of float32, within about 2 units in the last place, out of additions and multiplications, since
/// what devices offer differs and is coarse on some. They are the managed backend's, for one element. NaN comes through.
/// </summary>
internal static class Functions
{
    // Below −87.33654 e^x, less than 2⁻¹²⁶, is 0, above 89 it is infinite. Beyond 9.5 the normal distribution's tail is 0, as
    // native/core/math-inl.h says.
    private const float ExpLow = -87.33654f, ExpHigh = 89f, TailEnd = 9.5f;

    public static bool IsNaN(float x) => (Interop.FloatAsInt(x) & 0x7FFFFFFF) > 0x7F800000;

    /// <summary>
    /// x, or a zero of its sign where it is subnormal: what every kernel writes of what it computed, so that a quantity that
    /// decays ends at zero on every device, whether it flushes by itself or not.
    /// </summary>
    public static float Flush(float x) =>
        (Interop.FloatAsInt(x) & 0x7F800000) != 0 ? x : Interop.IntAsFloat((uint)(Interop.FloatAsInt(x) & 0x80000000));

    public static bool IsFinite(float x) => (Interop.FloatAsInt(x) & 0x7F800000) != 0x7F800000;

    /// <summary>The larger, NaN where either is.</summary>
    public static float Larger(float x, float y) => IsNaN(x) || x > y ? x : y;

    /// <summary>e^x.</summary>
    public static float Exp(float exponent)
    {
        float x = exponent < ExpLow ? ExpLow : exponent;
        x = x > ExpHigh ? ExpHigh : x;
        float n = XMath.Floor(x * 1.44269504f + 0.5f);
        float r = n * -0.693359375f + x;
        r = n * 2.12194440e-4f + r;
        float p = 0.00019789959f;
        p = p * r + 0.0013945566f;
        p = p * r + 0.0083335023f;
        p = p * r + 0.041666284f;
        p = p * r + 0.16666666f;
        p = p * r + 0.5f;
        p = p * (r * r) + r + 1;

        // 2^n in two factors: n reaches past both ends of the exponent's range. A NaN's n is anything.
        int whole = IsNaN(x) ? 0 : (int)n;
        int half = whole >> 1;
        return exponent < ExpLow ? 0 : p * PowerOfTwo(half) * PowerOfTwo(whole - half);
    }

    /// <summary>log(1 + u) for 0 ≤ u ≤ 1, to full relative accuracy down to u = 0.</summary>
    public static float Log1PlusUnit(float u)
    {
        // 2 atanh(s) with s = u / (2 + u) ≤ 1/3.
        float s = u / (u + 2f);
        float y = s * s;
        float p = 0.12206534f;
        p = p * y + 0.10696625f;
        p = p * y + 0.14310361f;
        p = p * y + 0.19999346f;
        p = p * y + 0.3333334f;
        return p * y * (s + s) + (s + s);
    }

    /// <summary>log x of a normal number x ≥ 1.</summary>
    public static float LogFromOne(float x)
    {
        int bits = (int)Interop.FloatAsInt(x);
        int exponent = (bits >> 23) - 127;
        return exponent * 0.693147180f + Log1PlusUnit(Interop.IntAsFloat((uint)((bits & 0x007FFFFF) | 0x3F800000)) - 1);
    }

    /// <summary>1 / (1 + e^−x).</summary>
    public static float Sigmoid(float x)
    {
        float e = Exp(-XMath.Abs(x));
        return (x < 0 ? e : 1) / (1 + e);
    }

    /// <summary>sigmoid(x) sigmoid(−x).</summary>
    public static float SigmoidDerivative(float x)
    {
        float e = Exp(-XMath.Abs(x)), d = 1 + e;
        return e / (d * d);
    }

    /// <summary>log(1 + e^x).</summary>
    public static float Softplus(float x) => (x < 0 ? 0 : x) + Log1PlusUnit(Exp(-XMath.Abs(x)));

    /// <summary>x Φ(x).</summary>
    public static float Gelu(float x) => (x < -TailEnd ? -TailEnd : x) * Normal(x, out _);

    /// <summary>Φ(x) + x e^(−x²/2) / √(2π).</summary>
    public static float GeluDerivative(float x)
    {
        float cumulative = Normal(x, out float bell);
        float clamped = x > TailEnd ? TailEnd : x < -TailEnd ? -TailEnd : x;
        return clamped * 0.39894228f * bell + cumulative;
    }

    /// <summary>(2 − x²) e^(−x²/2) / √(2π).</summary>
    public static float GeluSecondDerivative(float x)
    {
        float clamped = x > TailEnd ? TailEnd : x < -TailEnd ? -TailEnd : x;
        float square = clamped * clamped;
        return XMath.Abs(x) > TailEnd ? 0 : (2 - square) * 0.39894228f * Exp(square * -0.5f);
    }

    /// <summary>x rounded to bfloat16, to nearest even; a NaN stays one.</summary>
    public static float RoundToBFloat16(float x)
    {
        uint bits = (uint)Interop.FloatAsInt(x);
        uint rounded = IsNaN(x) ? bits | 0x00400000 : bits + 0x7FFF + ((bits >> 16) & 1);
        return Interop.IntAsFloat(rounded & 0xFFFF0000);
    }

    private static float PowerOfTwo(int n) => Interop.IntAsFloat((uint)((n + 127) << 23));

    // Φ(x), to full relative accuracy in the left tail too, and bell = e^(−x²/2).
    private static float Normal(float x, out float bell)
    {
        float a = XMath.Abs(x);
        bool beyond = a > TailEnd;
        a = beyond ? TailEnd : a;

        // e^(−a²/2) with the rounding error of a² put back: a in two parts, whose products are exact.
        float square = a * a;
        float high = Interop.IntAsFloat((uint)(Interop.FloatAsInt(a) & 0x7FFFF000)), low = a - high;
        float lost = high * high - square + 2 * high * low + low * low;
        bell = Exp(square * -0.5f);
        bell = beyond ? 0 : bell + bell * (lost * -0.5f);

        // Φ(−a) = e^(−a²/2) t P(t), t = 1 / (1 + 0.24 a): P fitted for least relative error (4e−9).
        float t = 1 / (a * 0.24f + 1);
        float p = 0.02548834f;
        p = p * t + -0.12448430f;
        p = p * t + 0.20524864f;
        p = p * t + -0.14414319f;
        p = p * t + 0.14150506f;
        p = p * t + 0.02803408f;
        p = p * t + 0.08783834f;
        p = p * t + 0.08890992f;
        p = p * t + 0.0958613f;
        p = p * t + 0.0957418f;
        float tail = bell * (p * t);
        return x < 0 ? tail : 1 - tail;
    }
}
