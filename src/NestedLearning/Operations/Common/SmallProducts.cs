using System.Numerics;
using System.Numerics.Tensors;

namespace NestedLearning.Operations;

/// <summary>A float32 matrix in host memory, read through two strides counted in elements.</summary>
internal readonly unsafe struct MatrixView(float* start, nint rowStride, nint columnStride = 1)
{
    public readonly float* Start = start;
    public readonly nint RowStride = rowStride;
    public readonly nint ColumnStride = columnStride;

    public bool IsNull => Start == null;

    public MatrixView Transposed => new(Start, ColumnStride, RowStride);

    public float* Row(int row) => Start + row * RowStride;

    /// <summary>The matrix without its first rows.</summary>
    public MatrixView FromRow(int row) => new(Start + row * RowStride, RowStride, ColumnStride);

    /// <summary>The matrix without its first columns.</summary>
    public MatrixView FromColumn(int column) => new(Start + column * ColumnStride, RowStride, ColumnStride);
}

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
    public static void Add(MatrixView c, MatrixView a, MatrixView b, int m, int n, int k)
    {
        int i = 0;
        for (; i + Tile <= m; i += Tile)
            FourRows(c.FromRow(i), a.FromRow(i), b, n, k);
        for (; i < m; i++)
            OneRow(c.Row(i), a.FromRow(i), b, n, k);
    }

    /// <summary>
    /// C [m, n] += tril(A) B for A [m, m], without A's diagonal when <paramref name="strict"/>. C may be B when strict: then C
    /// becomes the solution of (I − tril(A)) X = C, by forward substitution.
    /// </summary>
    public static void AddLower(MatrixView c, MatrixView a, MatrixView b, int m, int n, bool strict)
    {
        for (int first = 0; first < m; first += Tile)
        {
            int rows = Math.Min(Tile, m - first);
            Add(c.FromRow(first), a.FromRow(first), b, rows, n, first);
            for (int i = first; i < first + rows; i++)
            {
                int end = strict ? i : i + 1;
                OneRow(c.Row(i), a.FromRow(i).FromColumn(first), b.FromRow(first), n, end - first);
            }
        }
    }

    /// <summary>
    /// C [m, n] += triu(A) B for A [m, m], without A's diagonal when <paramref name="strict"/>. C may be B when strict: then C
    /// becomes the solution of (I − triu(A)) X = C, by backward substitution.
    /// </summary>
    public static void AddUpper(MatrixView c, MatrixView a, MatrixView b, int m, int n, bool strict)
    {
        for (int first = (m - 1) / Tile * Tile; first >= 0; first -= Tile)
        {
            int end = Math.Min(first + Tile, m);
            Add(c.FromRow(first), a.FromRow(first).FromColumn(end), b.FromRow(end), end - first, n, m - end);
            for (int i = end - 1; i >= first; i--)
            {
                int begin = strict ? i + 1 : i;
                OneRow(c.Row(i), a.FromRow(i).FromColumn(begin), b.FromRow(begin), n, end - begin);
            }
        }
    }

    /// <summary>The lower triangle of C [n, n] = A [n, k] B [k, n], diagonal included; what is above it is undefined.</summary>
    public static void LowerTriangle(MatrixView c, MatrixView a, MatrixView b, int n, int k)
    {
        for (int first = 0; first < n; first += Tile)
        {
            int rows = Math.Min(Tile, n - first);
            int columns = Math.Min(n, (first + rows + Vector<float>.Count - 1) / Vector<float>.Count * Vector<float>.Count);
            Clear(c.FromRow(first), rows, columns);
            Add(c.FromRow(first), a.FromRow(first), b, rows, columns, k);
        }
    }

    /// <summary>result [columns, rows], contiguous, = the transpose of source [rows, columns].</summary>
    public static MatrixView Transpose(MatrixView source, int rows, int columns, float* result)
    {
        for (int i = 0; i < rows; i++)
        {
            float* row = source.Row(i);
            float* target = result + i;
            for (int j = 0; j < columns; j++, target += rows)
                *target = row[j];
        }

        return new MatrixView(result, rows);
    }

    /// <summary>Each row of result = its factor times that row of source.</summary>
    public static void ScaleRows(MatrixView source, float* factors, int rows, int columns, MatrixView result)
    {
        for (int i = 0; i < rows; i++)
            TensorPrimitives.Multiply(Span(source.Row(i), columns), factors[i], Span(result.Row(i), columns));
    }

    /// <summary>Each row of result += its factor times that row of source.</summary>
    public static void AddScaledRows(MatrixView source, float* factors, int rows, int columns, MatrixView result)
    {
        for (int i = 0; i < rows; i++)
            AddScaled(source.Row(i), factors[i], columns, result.Row(i));
    }

    /// <summary>result += factor · source.</summary>
    public static void AddScaled(float* source, float factor, int length, float* result) =>
        TensorPrimitives.MultiplyAdd(Span(source, length), factor, Span(result, length), Span(result, length));

    /// <summary>matrix *= factor.</summary>
    public static void Scale(MatrixView matrix, float factor, int rows, int columns)
    {
        for (int i = 0; i < rows; i++)
            TensorPrimitives.Multiply(Span(matrix.Row(i), columns), factor, Span(matrix.Row(i), columns));
    }

    /// <summary>result += factor · source.</summary>
    public static void AddScaled(MatrixView source, float factor, int rows, int columns, MatrixView result)
    {
        for (int i = 0; i < rows; i++)
            AddScaled(source.Row(i), factor, columns, result.Row(i));
    }

    public static void CopyRows(MatrixView source, int rows, int columns, MatrixView result)
    {
        for (int i = 0; i < rows; i++)
            Span(source.Row(i), columns).CopyTo(Span(result.Row(i), columns));
    }

    public static void Clear(MatrixView matrix, int rows, int columns)
    {
        for (int i = 0; i < rows; i++)
            Span(matrix.Row(i), columns).Clear();
    }

    public static float Dot(float* x, float* y, int length) => TensorPrimitives.Dot(Span(x, length), Span(y, length));

    /// <summary>⟨X, Y⟩ over all elements.</summary>
    public static float Dot(MatrixView x, MatrixView y, int rows, int columns)
    {
        float sum = 0;
        for (int i = 0; i < rows; i++)
            sum += Dot(x.Row(i), y.Row(i), columns);
        return sum;
    }

    public static Span<float> Span(float* start, int length) => new(start, length);

    private static void FourRows(MatrixView c, MatrixView a, MatrixView b, int n, int k)
    {
        int width = Vector<float>.Count;
        float* c0 = c.Start, c1 = c.Row(1), c2 = c.Row(2), c3 = c.Row(3);
        nint aRow = a.RowStride, aColumn = a.ColumnStride, bRow = b.RowStride;
        int j = 0;
        for (; j + 2 * width <= n; j += 2 * width)
        {
            Vector<float> s00 = Vector.Load(c0 + j), s01 = Vector.Load(c0 + j + width);
            Vector<float> s10 = Vector.Load(c1 + j), s11 = Vector.Load(c1 + j + width);
            Vector<float> s20 = Vector.Load(c2 + j), s21 = Vector.Load(c2 + j + width);
            Vector<float> s30 = Vector.Load(c3 + j), s31 = Vector.Load(c3 + j + width);
            float* ap = a.Start;
            float* bp = b.Start + j;
            for (int p = 0; p < k; p++, ap += aColumn, bp += bRow)
            {
                Vector<float> b0 = Vector.Load(bp), b1 = Vector.Load(bp + width);
                Vector<float> x = new(ap[0]);
                s00 = Vector.FusedMultiplyAdd(x, b0, s00);
                s01 = Vector.FusedMultiplyAdd(x, b1, s01);
                x = new(ap[aRow]);
                s10 = Vector.FusedMultiplyAdd(x, b0, s10);
                s11 = Vector.FusedMultiplyAdd(x, b1, s11);
                x = new(ap[2 * aRow]);
                s20 = Vector.FusedMultiplyAdd(x, b0, s20);
                s21 = Vector.FusedMultiplyAdd(x, b1, s21);
                x = new(ap[3 * aRow]);
                s30 = Vector.FusedMultiplyAdd(x, b0, s30);
                s31 = Vector.FusedMultiplyAdd(x, b1, s31);
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
            Vector<float> s0 = Vector.Load(c0 + j), s1 = Vector.Load(c1 + j), s2 = Vector.Load(c2 + j), s3 = Vector.Load(c3 + j);
            float* ap = a.Start;
            float* bp = b.Start + j;
            for (int p = 0; p < k; p++, ap += aColumn, bp += bRow)
            {
                Vector<float> b0 = Vector.Load(bp);
                s0 = Vector.FusedMultiplyAdd(new(ap[0]), b0, s0);
                s1 = Vector.FusedMultiplyAdd(new(ap[aRow]), b0, s1);
                s2 = Vector.FusedMultiplyAdd(new(ap[2 * aRow]), b0, s2);
                s3 = Vector.FusedMultiplyAdd(new(ap[3 * aRow]), b0, s3);
            }

            s0.Store(c0 + j);
            s1.Store(c1 + j);
            s2.Store(c2 + j);
            s3.Store(c3 + j);
        }

        for (; j < n; j++)
        {
            float s0 = c0[j], s1 = c1[j], s2 = c2[j], s3 = c3[j];
            float* ap = a.Start;
            float* bp = b.Start + j;
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

    private static void OneRow(float* c, MatrixView a, MatrixView b, int n, int k)
    {
        int width = Vector<float>.Count;
        int j = 0;
        for (; j + 4 * width <= n; j += 4 * width)
        {
            Vector<float> s0 = Vector.Load(c + j), s1 = Vector.Load(c + j + width);
            Vector<float> s2 = Vector.Load(c + j + 2 * width), s3 = Vector.Load(c + j + 3 * width);
            float* ap = a.Start;
            float* bp = b.Start + j;
            for (int p = 0; p < k; p++, ap += a.ColumnStride, bp += b.RowStride)
            {
                Vector<float> x = new(*ap);
                s0 = Vector.FusedMultiplyAdd(x, Vector.Load(bp), s0);
                s1 = Vector.FusedMultiplyAdd(x, Vector.Load(bp + width), s1);
                s2 = Vector.FusedMultiplyAdd(x, Vector.Load(bp + 2 * width), s2);
                s3 = Vector.FusedMultiplyAdd(x, Vector.Load(bp + 3 * width), s3);
            }

            s0.Store(c + j);
            s1.Store(c + j + width);
            s2.Store(c + j + 2 * width);
            s3.Store(c + j + 3 * width);
        }

        for (; j + width <= n; j += width)
        {
            Vector<float> s = Vector.Load(c + j);
            float* ap = a.Start;
            float* bp = b.Start + j;
            for (int p = 0; p < k; p++, ap += a.ColumnStride, bp += b.RowStride)
                s = Vector.FusedMultiplyAdd(new(*ap), Vector.Load(bp), s);
            s.Store(c + j);
        }

        for (; j < n; j++)
        {
            float s = c[j];
            float* ap = a.Start;
            float* bp = b.Start + j;
            for (int p = 0; p < k; p++, ap += a.ColumnStride, bp += b.RowStride)
                s += *ap * *bp;
            c[j] = s;
        }
    }
}
