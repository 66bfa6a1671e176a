using System.Numerics;
using System.Numerics.Tensors;

namespace NestedLearning.Operations;

/// <summary>
/// Products of the small matrices of one head and chunk, which stay in cache. All of them add to C. The left factor may
/// be a transpose; the rows of B and C are contiguous. A triangular product never reads the other triangle, so a NaN of
/// a later token cannot reach an earlier one.
/// </summary>
internal static unsafe class SmallProducts
{
    // Rows of C computed together: 4 rows by 2 vectors keep two FMA units busy and fit 16 registers.
    private const int Tile = 4;

    /// <summary>C [m, n] += A [m, k] B [k, n].</summary>
    public static void Add<T>(Rows<T> c, Rows<T> a, Rows<T> b, int m, int n, int k)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        int i = 0;
        for (; i + Tile <= m; i += Tile)
            FourRows(c.From(i), a.From(i), b, n, k);
        for (; i < m; i++)
            OneRow(c[i], a.From(i), b, n, k);
    }

    /// <summary>
    /// C [m, n] += tril(A) B for A [m, m], without A's diagonal when <paramref name="strict"/>. C may be B when strict: then C
    /// becomes the solution of (I − tril(A)) X = C, by forward substitution.
    /// </summary>
    public static void AddLower<T>(Rows<T> c, Rows<T> a, Rows<T> b, int m, int n, bool strict)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        for (int first = 0; first < m; first += Tile)
        {
            int rows = Math.Min(Tile, m - first);
            Add(c.From(first), a.From(first), b, rows, n, first);
            for (int i = first; i < first + rows; i++)
            {
                int end = strict ? i : i + 1;
                OneRow(c[i], a.From(i).From(0, first), b.From(first), n, end - first);
            }
        }
    }

    /// <summary>
    /// C [m, n] += triu(A) B for A [m, m], without A's diagonal when <paramref name="strict"/>. C may be B when strict: then C
    /// becomes the solution of (I − triu(A)) X = C, by backward substitution.
    /// </summary>
    public static void AddUpper<T>(Rows<T> c, Rows<T> a, Rows<T> b, int m, int n, bool strict)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        for (int first = (m - 1) / Tile * Tile; first >= 0; first -= Tile)
        {
            int end = Math.Min(first + Tile, m);
            Add(c.From(first), a.From(first).From(0, end), b.From(end), end - first, n, m - end);
            for (int i = end - 1; i >= first; i--)
            {
                int begin = strict ? i + 1 : i;
                OneRow(c[i], a.From(i).From(0, begin), b.From(begin), n, end - begin);
            }
        }
    }

    /// <summary>result [columns, rows], contiguous, = the transpose of source [rows, columns].</summary>
    public static Rows<T> Transpose<T>(Rows<T> source, int rows, int columns, T* result)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        for (int i = 0; i < rows; i++)
        {
            T* row = source[i];
            T* target = result + i;
            for (int j = 0; j < columns; j++, target += rows)
                *target = row[j];
        }

        return new Rows<T>(result, rows);
    }

    /// <summary>Each row of result = its factor times that row of source.</summary>
    public static void ScaleRows<T>(Rows<T> source, T* factors, int rows, int columns, Rows<T> result)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        for (int i = 0; i < rows; i++)
            TensorPrimitives.Multiply(Span(source[i], columns), factors[i], Span(result[i], columns));
    }

    /// <summary>result += factor · source.</summary>
    public static void AddScaled<T>(T* source, T factor, int length, T* result)
        where T : unmanaged, IFloatingPointIeee754<T> =>
        TensorPrimitives.MultiplyAdd<T>(Span(source, length), factor, Span(result, length), Span(result, length));

    public static void CopyRows<T>(Rows<T> source, int rows, int columns, Rows<T> result)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        for (int i = 0; i < rows; i++)
            Span(source[i], columns).CopyTo(Span(result[i], columns));
    }

    /// <summary>The rows of what may be null, and then is zero.</summary>
    public static void LoadRows<T>(Rows<T> source, int rows, int columns, Rows<T> result)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        if (source.IsNull)
            Clear(result, rows, columns);
        else
            CopyRows(source, rows, columns, result);
    }

    /// <summary>Rows, flushed, into a result, if it is wanted.</summary>
    public static void StoreRows<T>(Rows<T> source, int rows, int columns, Rows<T> result)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        if (result.IsNull)
            return;
        for (int i = 0; i < rows; i++)
        {
            Columns<T>.Flush(source[i], columns);
            Span(source[i], columns).CopyTo(Span(result[i], columns));
        }
    }

    public static void Clear<T>(Rows<T> matrix, int rows, int columns)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        for (int i = 0; i < rows; i++)
            Span(matrix[i], columns).Clear();
    }

    public static T Dot<T>(T* x, T* y, int length)
        where T : unmanaged, IFloatingPointIeee754<T> =>
        TensorPrimitives.Dot<T>(Span(x, length), Span(y, length));

    public static Span<T> Span<T>(T* start, int length)
        where T : unmanaged => new(start, length);

    private static void FourRows<T>(Rows<T> c, Rows<T> a, Rows<T> b, int n, int k)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        int width = Vector<T>.Count;
        T* c0 = c.Start, c1 = c[1], c2 = c[2], c3 = c[3];
        nint aRow = a.Stride, aColumn = a.ColumnStride, bRow = b.Stride;
        int j = 0;
        for (; j + 2 * width <= n; j += 2 * width)
        {
            Vector<T> s00 = Vector.Load(c0 + j), s01 = Vector.Load(c0 + j + width);
            Vector<T> s10 = Vector.Load(c1 + j), s11 = Vector.Load(c1 + j + width);
            Vector<T> s20 = Vector.Load(c2 + j), s21 = Vector.Load(c2 + j + width);
            Vector<T> s30 = Vector.Load(c3 + j), s31 = Vector.Load(c3 + j + width);
            T* ap = a.Start;
            T* bp = b.Start + j;
            for (int p = 0; p < k; p++, ap += aColumn, bp += bRow)
            {
                Vector<T> b0 = Vector.Load(bp), b1 = Vector.Load(bp + width);
                Vector<T> x = new Vector<T>(ap[0]);
                s00 = Columns<T>.Fused(x, b0, s00);
                s01 = Columns<T>.Fused(x, b1, s01);
                x = new(ap[aRow]);
                s10 = Columns<T>.Fused(x, b0, s10);
                s11 = Columns<T>.Fused(x, b1, s11);
                x = new(ap[2 * aRow]);
                s20 = Columns<T>.Fused(x, b0, s20);
                s21 = Columns<T>.Fused(x, b1, s21);
                x = new(ap[3 * aRow]);
                s30 = Columns<T>.Fused(x, b0, s30);
                s31 = Columns<T>.Fused(x, b1, s31);
            }

            s00.Store(c0 + j);
            s01.Store(c0 + j + width);
            s10.Store(c1 + j);
            s11.Store(c1 + j + width);
            s20.Store(c2 + j);
            s21.Store(c2 + j + width);
            s30.Store(c3 + j);
            s31.Store(c3 + j + width);
        }

        for (; j + width <= n; j += width)
        {
            Vector<T> s0 = Vector.Load(c0 + j), s1 = Vector.Load(c1 + j), s2 = Vector.Load(c2 + j), s3 = Vector.Load(c3 + j);
            T* ap = a.Start;
            T* bp = b.Start + j;
            for (int p = 0; p < k; p++, ap += aColumn, bp += bRow)
            {
                Vector<T> b0 = Vector.Load(bp);
                s0 = Columns<T>.Fused(new Vector<T>(ap[0]), b0, s0);
                s1 = Columns<T>.Fused(new Vector<T>(ap[aRow]), b0, s1);
                s2 = Columns<T>.Fused(new Vector<T>(ap[2 * aRow]), b0, s2);
                s3 = Columns<T>.Fused(new Vector<T>(ap[3 * aRow]), b0, s3);
            }

            s0.Store(c0 + j);
            s1.Store(c1 + j);
            s2.Store(c2 + j);
            s3.Store(c3 + j);
        }

        for (; j < n; j++)
        {
            T s0 = c0[j], s1 = c1[j], s2 = c2[j], s3 = c3[j];
            T* ap = a.Start;
            T* bp = b.Start + j;
            for (int p = 0; p < k; p++, ap += aColumn, bp += bRow)
            {
                s0 += ap[0] * *bp;
                s1 += ap[aRow] * *bp;
                s2 += ap[2 * aRow] * *bp;
                s3 += ap[3 * aRow] * *bp;
            }

            c0[j] = s0;
            c1[j] = s1;
            c2[j] = s2;
            c3[j] = s3;
        }
    }

    private static void OneRow<T>(T* c, Rows<T> a, Rows<T> b, int n, int k)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        int width = Vector<T>.Count;
        int j = 0;
        for (; j + 4 * width <= n; j += 4 * width)
        {
            Vector<T> s0 = Vector.Load(c + j), s1 = Vector.Load(c + j + width);
            Vector<T> s2 = Vector.Load(c + j + 2 * width), s3 = Vector.Load(c + j + 3 * width);
            T* ap = a.Start;
            T* bp = b.Start + j;
            for (int p = 0; p < k; p++, ap += a.ColumnStride, bp += b.Stride)
            {
                Vector<T> x = new Vector<T>(*ap);
                s0 = Columns<T>.Fused(x, Vector.Load(bp), s0);
                s1 = Columns<T>.Fused(x, Vector.Load(bp + width), s1);
                s2 = Columns<T>.Fused(x, Vector.Load(bp + 2 * width), s2);
                s3 = Columns<T>.Fused(x, Vector.Load(bp + 3 * width), s3);
            }

            s0.Store(c + j);
            s1.Store(c + j + width);
            s2.Store(c + j + 2 * width);
            s3.Store(c + j + 3 * width);
        }

        for (; j + width <= n; j += width)
        {
            Vector<T> s = Vector.Load(c + j);
            T* ap = a.Start;
            T* bp = b.Start + j;
            for (int p = 0; p < k; p++, ap += a.ColumnStride, bp += b.Stride)
                s = Columns<T>.Fused(new Vector<T>(*ap), Vector.Load(bp), s);
            s.Store(c + j);
        }

        for (; j < n; j++)
        {
            T s = c[j];
            T* ap = a.Start;
            T* bp = b.Start + j;
            for (int p = 0; p < k; p++, ap += a.ColumnStride, bp += b.Stride)
                s += *ap * *bp;
            c[j] = s;
        }
    }
}
