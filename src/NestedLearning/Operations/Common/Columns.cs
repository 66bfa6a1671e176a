using System.Numerics;
using System.Runtime.CompilerServices;

namespace NestedLearning.Operations;

/// <summary>
/// A row of a few columns, float or double, as many as four vectors hold: what a loop over the rows of a memory keeps in
/// registers. The token form of a rule is written with them, once for both types.
/// </summary>
internal readonly unsafe struct Columns<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    private readonly Vector<T> _a, _b, _c, _d;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Columns(Vector<T> a, Vector<T> b, Vector<T> c, Vector<T> d)
    {
        _a = a;
        _b = b;
        _c = c;
        _d = d;
    }

    /// <summary>Elements of a row.</summary>
    public static int Count => 4 * Vector<T>.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Columns<T> Load(T* row)
    {
        int n = Vector<T>.Count;
        return new(Vector.Load(row), Vector.Load(row + n), Vector.Load(row + 2 * n), Vector.Load(row + 3 * n));
    }

    /// <summary>The first elements, zeros behind them.</summary>
    public static Columns<T> Load(T* row, int count)
    {
        if (count >= Count)
            return Load(row);
        T* whole = stackalloc T[Count];
        new Span<T>(row, count).CopyTo(new Span<T>(whole, Count));
        new Span<T>(whole + count, Count - count).Clear();
        return Load(whole);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Store(T* row)
    {
        int n = Vector<T>.Count;
        _a.Store(row);
        _b.Store(row + n);
        _c.Store(row + 2 * n);
        _d.Store(row + 3 * n);
    }

    /// <summary>Stores the first elements, subnormal ones as zeros.</summary>
    public void Store(T* row, int count)
    {
        T* whole = stackalloc T[Count];
        Store(whole);
        Flush(whole, Math.Min(count, Count));
        new Span<T>(whole, Math.Min(count, Count)).CopyTo(new Span<T>(row, count));
    }

    /// <summary>Subnormal numbers of float32 become zeros; double is the reference, which keeps what it has.</summary>
    public static void Flush(T* row, int count)
    {
        if (typeof(T) == typeof(float))
            Subnormals.Flush(new Span<float>(row, count));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Columns<T> operator +(Columns<T> x, Columns<T> y) => new(x._a + y._a, x._b + y._b, x._c + y._c, x._d + y._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Columns<T> operator -(Columns<T> x, Columns<T> y) => new(x._a - y._a, x._b - y._b, x._c - y._c, x._d - y._d);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Columns<T> operator *(T x, Columns<T> y)
    {
        var all = new Vector<T>(x);
        return new(all * y._a, all * y._b, all * y._c, all * y._d);
    }

    /// <summary>This + x y, rounded once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Columns<T> Plus(T x, Columns<T> y)
    {
        var all = new Vector<T>(x);
        return new(Fused(all, y._a, _a), Fused(all, y._b, _b), Fused(all, y._c, _c), Fused(all, y._d, _d));
    }

    /// <summary>This + x ∘ y, rounded once: a part of ⟨x, y⟩ in each element.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Columns<T> Plus(Columns<T> x, Columns<T> y) =>
        new(Fused(x._a, y._a, _a), Fused(x._b, y._b, _b), Fused(x._c, y._c, _c), Fused(x._d, y._d, _d));

    /// <summary>The sum of all elements.</summary>
    public T Sum
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector.Sum(_a + _b + (_c + _d));
    }

    /// <summary>⟨x, y⟩.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Dot(Columns<T> x, Columns<T> y) => Vector.Sum(Fused(x._a, y._a, x._b * y._b) + Fused(x._c, y._c, x._d * y._d));

    /// <summary>x y + z, rounded once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector<T> Fused(Vector<T> x, Vector<T> y, Vector<T> z)
    {
        if (typeof(T) == typeof(float))
            return Vector.FusedMultiplyAdd(x.As<T, float>(), y.As<T, float>(), z.As<T, float>()).As<float, T>();
        if (typeof(T) == typeof(double))
            return Vector.FusedMultiplyAdd(x.As<T, double>(), y.As<T, double>(), z.As<T, double>()).As<double, T>();
        return x * y + z;
    }
}
