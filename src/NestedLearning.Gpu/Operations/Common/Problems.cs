using ILGPU;
using ILGPU.Algorithms;

namespace NestedLearning.Gpu.Kernels;

/// <summary>
/// A matrix for each problem of a launch: element (i, j) of problem (b, h, c) is
/// View[Start + b Batch + h Head + c Chunk + i Row + j Column]. A view of no elements stands for one that is not given.
/// </summary>
internal struct Matrix
{
    public ArrayView<float> View;
    public int Start, Batch, Head, Chunk, Row, Column;

    public readonly bool Given => View.Length != 0;

    public readonly long Offset(Problem p) => Start + (long)p.B * Batch + (long)p.H * Head + (long)p.C * Chunk;

    /// <summary>The transpose.</summary>
    public readonly Matrix Transposed()
    {
        Matrix m = this;
        m.Row = Column;
        m.Column = Row;
        return m;
    }

    /// <summary>The matrix from another of its columns on.</summary>
    public readonly Matrix FromColumn(int column)
    {
        Matrix m = this;
        m.Start += column * Column;
        return m;
    }

    /// <summary>The matrix from another of its rows on.</summary>
    public readonly Matrix FromRow(int row)
    {
        Matrix m = this;
        m.Start += row * Row;
        return m;
    }
}

/// <summary>Which batch, head and chunk a problem is, and how many tokens its chunk has.</summary>
internal struct Problem
{
    public int B, H, C;
}

/// <summary>
/// What problems a launch has: B · H · C of them, of chunks of Length tokens except for the last, which ends with the Tokens.
/// </summary>
internal struct Problems
{
    public int Batches, Heads, Chunks, Length, Tokens;

    public readonly int Count => Batches * Heads * Chunks;

    public readonly Problem At(int index) => new() { B = index / (Heads * Chunks), H = index / Chunks % Heads, C = index % Chunks };

    public readonly int LengthOf(Problem p) => XMath.Min(Length, Tokens - p.C * Length);
}
