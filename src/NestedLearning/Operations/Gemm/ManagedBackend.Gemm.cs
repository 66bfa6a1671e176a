using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace NestedLearning;

internal sealed unsafe partial class ManagedBackend
{
    // C = epilogue(op(A) op(B) + bias) + scale · residual, or C += that
    // A [M,K] or [K,M]  B [K,N] or [N,K]  C, residual, pre-activation [M,N]  bias [N]; float32 accumulation, in blocks
    // of K that are summed one after the other.
    public override void Gemm(in GemmArguments arguments)
    {
        if (arguments.Precision == GemmPrecision.BFloat16)
        {
            using Tensor a = RoundedToBFloat16(arguments.A), b = RoundedToBFloat16(arguments.B);
            Gemm(arguments with { A = a, B = b, Precision = GemmPrecision.Float32 });
            return;
        }

        var product = new GemmProduct(arguments);
        if (product.M == 0 || product.N == 0)
            return;
        if (arguments.Symmetric)
        {
            int across = (product.N + SymmetricTile - 1) / SymmetricTile;
            Work.For(across * (across + 1) / 2, product.Operations / 2, new SymmetricGemmAction(product));
            return;
        }

        // Cut by shape alone: smaller tiles while there are too few of them to go round.
        int rows = GemmTile.MaxRows, columns = GemmTile.MaxColumns;
        while (Tiles(product, rows, columns) < FewTiles && (columns > GemmTile.LeastColumns || rows > GemmTile.LeastRows))
        {
            if (columns > GemmTile.LeastColumns)
                columns /= 2;
            else
                rows /= 2;
        }

        Work.For(Tiles(product, rows, columns), product.Operations, new GemmAction(product, rows, columns));
    }

    // Fewer tiles than this are cut smaller.
    private const int FewTiles = 16;

    // Rows and columns of a symmetric product's tiles.
    private const int SymmetricTile = 96;

    private static int Tiles(in GemmProduct product, int rows, int columns) =>
        ((product.M + rows - 1) / rows) * ((product.N + columns - 1) / columns);

    private readonly struct GemmAction(GemmProduct product, int rows, int columns) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int across = (product.N + columns - 1) / columns;
            int row = piece / across * rows, column = piece % across * columns;
            new GemmTile(product, row, Math.Min(rows, product.M - row), column, Math.Min(columns, product.N - column)).Compute();
        }
    }
}

/// <summary>A matrix product as pointers and strides: row-major operands, transposes told by their strides.</summary>
internal readonly unsafe struct GemmProduct
{
    public GemmProduct(in GemmArguments a)
    {
        // From C: a shape with an axis of no length does not tell its rows.
        M = a.C.Shape.Rows;
        N = a.C.Shape.Last;
        K = a.K;
        A = a.A.Pointer;
        B = a.B.Pointer;
        C = a.C.Pointer;
        TransposeB = a.TransposeB;
        RowStrideA = a.TransposeA ? 1 : K;
        StepStrideA = a.TransposeA ? M : 1;
        Bias = a.Bias is null ? null : a.Bias.Pointer;
        PreActivation = a.PreActivation is null ? null : a.PreActivation.Pointer;
        Residual = a.Residual is null ? null : a.Residual.Pointer;
        Epilogue = a.Epilogue;
        ResidualScale = a.ResidualScale;
        Accumulate = a.Accumulate;
    }

    /// <summary>The first of a batch's products.</summary>
    public GemmProduct(Tensor a, Tensor b, Tensor c, bool transposeA, bool transposeB, bool accumulate)
    {
        M = c.Shape[^2];
        N = c.Shape[^1];
        K = a.Shape[transposeA ? ^2 : ^1];
        A = a.Pointer;
        B = b.Pointer;
        C = c.Pointer;
        TransposeB = transposeB;
        RowStrideA = transposeA ? 1 : K;
        StepStrideA = transposeA ? M : 1;
        Accumulate = accumulate;
    }

    /// <summary>Another of a batch's products.</summary>
    public GemmProduct(in GemmProduct first, nint index)
    {
        this = first;
        A += index * M * K;
        B += index * K * N;
        C += index * M * N;
    }

    public readonly int M;
    public readonly int N;
    public readonly int K;
    public readonly float* A;
    public readonly float* B;
    public readonly float* C;

    /// <summary>Roughly, scalar operations.</summary>
    public long Operations => 2L * M * N * Math.Max(K, 1);

    /// <summary>Whether B is [N,K].</summary>
    public readonly bool TransposeB;

    /// <summary>Elements of A from one row of C to the next.</summary>
    public readonly nint RowStrideA;

    /// <summary>Elements of A from one term of the sum to the next.</summary>
    public readonly nint StepStrideA;

    public readonly float* Bias;
    public readonly float* PreActivation;
    public readonly float* Residual;
    public readonly float ResidualScale;
    public readonly Epilogue Epilogue;
    public readonly bool Accumulate;
}

/// <summary>
/// One tile of C, computed by one thread from first to last: the sums in a scratch tile, then the epilogue row by row.
/// <para>
/// The sum runs in blocks of <see cref="Depth"/> terms. Of each block the rows of A are packed in panels of six and
/// the columns of B in panels of two vectors, so that a 6 × 2-vector part of the tile stays in twelve registers while
/// both panels stream past. Panels are filled up with zeros; what those give is never stored.
/// </para>
/// </summary>
internal readonly unsafe ref struct GemmTile
{
    /// <summary>Most rows of a tile.</summary>
    public const int MaxRows = 96;

    /// <summary>Most columns of a tile.</summary>
    public const int MaxColumns = 512;

    /// <summary>Rows that a tile is not cut below.</summary>
    public const int LeastRows = 48;

    /// <summary>Columns that a tile is not cut below.</summary>
    public const int LeastColumns = 64;

    /// <summary>Terms of the sum taken together: a panel of B then fits the first-level cache.</summary>
    private const int Depth = 256;

    /// <summary>Rows of a panel of A.</summary>
    private const int PanelRows = 6;

    /// <summary>Up to so many rows of C are summed without packing B, whose elements would be used too seldom.</summary>
    private const int FewRows = 4;

    private readonly GemmProduct _product;
    private readonly int _row;
    private readonly int _rows;
    private readonly int _column;
    private readonly int _columns;
    private readonly int _stride;
    private readonly float* _sums;
    private readonly float* _panelsA;
    private readonly float* _panelB;

    public GemmTile(in GemmProduct product, int row, int rows, int column, int columns)
    {
        _product = product;
        _row = row;
        _rows = rows;
        _column = column;
        _columns = columns;
        _stride = RoundUp(columns, PanelColumns);
        int padded = RoundUp(rows, PanelRows);
        int depth = rows <= FewRows ? product.K : Depth;
        _sums = Scratch.Take((nint)padded * _stride + (nint)padded * depth + (nint)Depth * PanelColumns);
        _panelsA = _sums + (nint)padded * _stride;
        _panelB = _panelsA + (nint)padded * depth;
    }

    /// <summary>Columns of a panel of B.</summary>
    private static int PanelColumns => 2 * Vector<float>.Count;

    public void Compute()
    {
        Sum();
        for (int row = 0; row < _rows; row++)
            Finish(row);
    }

    /// <summary>The tile of op(A) op(B) alone, to be had row by row from <see cref="Row"/>.</summary>
    public void Sum()
    {
        if (_rows > FewRows)
            SumPanels();
        else if (_product.TransposeB)
            SumDots();
        else
            SumRows();
    }

    /// <summary>The sums of one of the tile's rows, valid until this thread takes scratch memory again.</summary>
    public Span<float> Row(int row) => new(_sums + (nint)row * _stride, _columns);

    private static int RoundUp(int value, int multiple) => (value + multiple - 1) / multiple * multiple;

    private void SumPanels()
    {
        if (_product.K == 0)
            new Span<float>(_sums, _rows * _stride).Clear();
        for (int start = 0; start < _product.K; start += Depth)
        {
            int depth = Math.Min(Depth, _product.K - start);
            PackA(start, depth);
            for (int column = 0; column < _columns; column += PanelColumns)
            {
                // A panel that few rows use is read where it lies.
                bool direct = !_product.TransposeB && column + PanelColumns <= _columns && _rows <= 4 * PanelRows;
                if (!direct)
                    PackB(start, depth, column);
                float* b = direct ? _product.B + (nint)start * _product.N + _column + column : _panelB;
                nint strideB = direct ? _product.N : PanelColumns;
                for (int row = 0; row < _rows; row += PanelRows)
                    SumPanel(_panelsA + (nint)row * depth, b, strideB, depth, _sums + (nint)row * _stride + column, start > 0);
            }
        }
    }

    /// <summary>panels[row / 6][k][row % 6] = op(A)[row, start + k].</summary>
    private void PackA(int start, int depth)
    {
        for (int panel = 0; panel < _rows; panel += PanelRows)
        {
            float* packed = _panelsA + (nint)panel * depth;
            int rows = Math.Min(PanelRows, _rows - panel);
            if (rows < PanelRows)
                new Span<float>(packed, PanelRows * depth).Clear();
            float* source = _product.A + (_row + panel) * _product.RowStrideA + start * _product.StepStrideA;
            if (_product.StepStrideA == 1)
            {
                for (int row = 0; row < rows; row++)
                {
                    for (int k = 0; k < depth; k++)
                        packed[k * PanelRows + row] = source[row * _product.RowStrideA + k];
                }
            }
            else
            {
                for (int k = 0; k < depth; k++)
                {
                    for (int row = 0; row < rows; row++)
                        packed[k * PanelRows + row] = source[k * _product.StepStrideA + row];
                }
            }
        }
    }

    /// <summary>panel[k][n] = op(B)[start + k, column + n].</summary>
    private void PackB(int start, int depth, int column)
    {
        int width = PanelColumns, columns = Math.Min(width, _columns - column);
        if (columns < width)
            new Span<float>(_panelB, depth * width).Clear();
        if (_product.TransposeB)
        {
            float* source = _product.B + (nint)(_column + column) * _product.K + start;
            int n = 0;
            for (; n <= columns - 4; n += 4)
                TransposeFour(source + n * (nint)_product.K, _product.K, depth, _panelB + n, width);
            for (; n < columns; n++)
            {
                for (int k = 0; k < depth; k++)
                    _panelB[k * width + n] = source[n * (nint)_product.K + k];
            }
        }
        else
        {
            float* source = _product.B + (nint)start * _product.N + _column + column;
            for (int k = 0; k < depth; k++)
                new ReadOnlySpan<float>(source + k * (nint)_product.N, columns).CopyTo(new Span<float>(_panelB + k * width, columns));
        }
    }

    /// <summary>Four rows of <paramref name="count"/> elements become four columns.</summary>
    private static void TransposeFour(float* source, nint sourceStride, int count, float* columns, nint stride)
    {
        float* row1 = source + sourceStride, row2 = row1 + sourceStride, row3 = row2 + sourceStride;
        int k = 0;
        if (Sse.IsSupported)
        {
            for (; k <= count - 4; k += 4)
            {
                Vector128<float> r0 = Vector128.Load(source + k), r1 = Vector128.Load(row1 + k);
                Vector128<float> r2 = Vector128.Load(row2 + k), r3 = Vector128.Load(row3 + k);
                Vector128<float> low01 = Sse.UnpackLow(r0, r1), low23 = Sse.UnpackLow(r2, r3);
                Vector128<float> high01 = Sse.UnpackHigh(r0, r1), high23 = Sse.UnpackHigh(r2, r3);
                float* column = columns + k * stride;
                Sse.MoveLowToHigh(low01, low23).Store(column);
                Sse.MoveHighToLow(low23, low01).Store(column + stride);
                Sse.MoveLowToHigh(high01, high23).Store(column + 2 * stride);
                Sse.MoveHighToLow(high23, high01).Store(column + 3 * stride);
            }
        }

        for (; k < count; k++)
        {
            float* column = columns + k * stride;
            column[0] = source[k];
            column[1] = row1[k];
            column[2] = row2[k];
            column[3] = row3[k];
        }
    }

    /// <summary>sums [6, two vectors] = or += a panel of A times a panel of B.</summary>
    private void SumPanel(float* a, float* b, nint strideB, int depth, float* sums, bool add)
    {
        Vector<float> s00 = Vector<float>.Zero, s01 = s00, s10 = s00, s11 = s00, s20 = s00, s21 = s00;
        Vector<float> s30 = s00, s31 = s00, s40 = s00, s41 = s00, s50 = s00, s51 = s00;
        for (int k = 0; k < depth; k++)
        {
            Vector<float> b0 = Vector.Load(b), b1 = Vector.Load(b + Vector<float>.Count);
            Vector<float> a0 = new(a[0]), a1 = new(a[1]);
            s00 = VectorMath.Fma(a0, b0, s00);
            s01 = VectorMath.Fma(a0, b1, s01);
            s10 = VectorMath.Fma(a1, b0, s10);
            s11 = VectorMath.Fma(a1, b1, s11);
            a0 = new(a[2]);
            a1 = new(a[3]);
            s20 = VectorMath.Fma(a0, b0, s20);
            s21 = VectorMath.Fma(a0, b1, s21);
            s30 = VectorMath.Fma(a1, b0, s30);
            s31 = VectorMath.Fma(a1, b1, s31);
            a0 = new(a[4]);
            a1 = new(a[5]);
            s40 = VectorMath.Fma(a0, b0, s40);
            s41 = VectorMath.Fma(a0, b1, s41);
            s50 = VectorMath.Fma(a1, b0, s50);
            s51 = VectorMath.Fma(a1, b1, s51);
            a += PanelRows;
            b += strideB;
        }

        Put(s00, s01, sums, add);
        Put(s10, s11, sums + _stride, add);
        Put(s20, s21, sums + 2 * _stride, add);
        Put(s30, s31, sums + 3 * _stride, add);
        Put(s40, s41, sums + 4 * _stride, add);
        Put(s50, s51, sums + 5 * _stride, add);
    }

    private static void Put(Vector<float> low, Vector<float> high, float* sums, bool add)
    {
        float* next = sums + Vector<float>.Count;
        Vector.Store(add ? Vector.Load(sums) + low : low, sums);
        Vector.Store(add ? Vector.Load(next) + high : high, next);
    }

    /// <summary>Few rows, B as it lies: the sums' rows take in four rows of B at a time, in order of K.</summary>
    private void SumRows()
    {
        float* a = CopyRowsOfA();
        int k = 0;
        new Span<float>(_sums, _rows * _stride).Clear();
        for (; k <= _product.K - 4; k += 4)
        {
            float* b = _product.B + (nint)k * _product.N + _column;
            for (int row = 0; row < _rows; row++)
                AddFour(a + (nint)row * _product.K + k, b, _sums + (nint)row * _stride);
        }

        for (; k < _product.K; k++)
        {
            var b = new ReadOnlySpan<float>(_product.B + (nint)k * _product.N + _column, _columns);
            for (int row = 0; row < _rows; row++)
            {
                var sums = new Span<float>(_sums + (nint)row * _stride, _columns);
                TensorPrimitives.MultiplyAdd(b, a[(nint)row * _product.K + k], sums, sums);
            }
        }
    }

    private void AddFour(float* a, float* b, float* sums)
    {
        float* b1 = b + _product.N, b2 = b1 + _product.N, b3 = b2 + _product.N;
        Vector<float> a0 = new(a[0]), a1 = new(a[1]), a2 = new(a[2]), a3 = new(a[3]);
        int n = 0;
        for (; n <= _columns - Vector<float>.Count; n += Vector<float>.Count)
        {
            Vector<float> near = VectorMath.Fma(a1, Vector.Load(b1 + n), a0 * Vector.Load(b + n));
            Vector<float> far = VectorMath.Fma(a3, Vector.Load(b3 + n), a2 * Vector.Load(b2 + n));
            Vector.Store(Vector.Load(sums + n) + (near + far), sums + n);
        }

        for (; n < _columns; n++)
            sums[n] += a[0] * b[n] + a[1] * b1[n] + (a[2] * b2[n] + a[3] * b3[n]);
    }

    /// <summary>Few rows, B transposed: a dot product for each element.</summary>
    private void SumDots()
    {
        float* a = CopyRowsOfA();
        for (int n = 0; n < _columns; n++)
        {
            float* b = _product.B + (nint)(_column + n) * _product.K;
            for (int row = 0; row < _rows; row++)
                _sums[(nint)row * _stride + n] = Dot(a + (nint)row * _product.K, b, _product.K);
        }
    }

    private static float Dot(float* a, float* b, int count)
    {
        Vector<float> s0 = Vector<float>.Zero, s1 = s0, s2 = s0, s3 = s0;
        int width = Vector<float>.Count, k = 0;
        for (; k <= count - 4 * width; k += 4 * width)
        {
            s0 = VectorMath.Fma(Vector.Load(a + k), Vector.Load(b + k), s0);
            s1 = VectorMath.Fma(Vector.Load(a + k + width), Vector.Load(b + k + width), s1);
            s2 = VectorMath.Fma(Vector.Load(a + k + 2 * width), Vector.Load(b + k + 2 * width), s2);
            s3 = VectorMath.Fma(Vector.Load(a + k + 3 * width), Vector.Load(b + k + 3 * width), s3);
        }

        for (; k <= count - width; k += width)
            s0 = VectorMath.Fma(Vector.Load(a + k), Vector.Load(b + k), s0);
        float sum = Vector.Sum(s0 + s1 + (s2 + s3));
        for (; k < count; k++)
            sum += a[k] * b[k];
        return sum;
    }

    /// <summary>The tile's rows of op(A) with the terms side by side: A itself where it already lies so.</summary>
    private float* CopyRowsOfA()
    {
        if (_product.StepStrideA == 1)
            return _product.A + _row * _product.RowStrideA;
        for (int row = 0; row < _rows; row++)
        {
            for (int k = 0; k < _product.K; k++)
                _panelsA[(nint)row * _product.K + k] = _product.A[_row + row + k * _product.StepStrideA];
        }

        return _panelsA;
    }

    /// <summary>Bias, activation and residual of one row, and its store into C.</summary>
    private void Finish(int row)
    {
        nint offset = (nint)(_row + row) * _product.N + _column;
        Span<float> sums = Row(row);
        var c = new Span<float>(_product.C + offset, _columns);
        if (_product.Bias != null)
            TensorPrimitives.Add(sums, new ReadOnlySpan<float>(_product.Bias + _column, _columns), sums);
        Subnormals.Flush(sums);
        if (_product.Epilogue == Epilogue.Gelu)
        {
            if (_product.PreActivation != null)
                sums.CopyTo(new Span<float>(_product.PreActivation + offset, _columns));
            VectorMath.Map<GeluFunction>(sums, sums);
        }
        else if (_product.Epilogue == Epilogue.GeluGradient)
        {
            VectorMath.Map<GeluGradient>(new ReadOnlySpan<float>(_product.PreActivation + offset, _columns), sums, sums);
        }

        if (_product.Residual != null)
            TensorPrimitives.MultiplyAdd(new ReadOnlySpan<float>(_product.Residual + offset, _columns), _product.ResidualScale, sums, c);
        else if (_product.Accumulate)
            TensorPrimitives.Add(c, sums, c);
        else
            sums.CopyTo(c);
        if (_product.Residual != null || _product.Accumulate)
            Subnormals.Flush(c);
    }
}
