using ILGPU;
using ILGPU.Algorithms;

namespace NestedLearning.Gpu.Kernels;

/// <summary>
/// What the tokens of a chunk are to each other: gates, the coefficients that follow from them, and triangles [n, n] over
/// (token t, earlier write i). One problem is a chunk of a head; token counts are from 0, rows of a, b, c, G and X from the
/// chunk's start, which is row 0. Names as in native/kernels/scan/README.md.
/// </summary>
internal struct ChunkArguments
{
    public Problems Problems;

    /// <summary>Gates [n].</summary>
    public Matrix Alpha, Erase, Mu, Theta;

    /// <summary>Coefficients [n + 1], and [n + 1, n].</summary>
    public Matrix A, B, C, G, X;

    /// <summary>
    /// Factors [n] of K in what a write takes from S and P, and of Q in what a read takes from them:
    /// −(ε a_{t−1} + [L2] θ), −ε b_{t−1}, scale · a_ρ, scale · b_ρ.
    /// </summary>
    public Matrix WriteS, WriteP, ReadS, ReadP;

    /// <summary>⟨k_t, k_i⟩ and ⟨q_t, k_i⟩, and N and M which are made from them.</summary>
    public Matrix KeyProducts, QueryProducts, N, M;

    public int Momentum, Erases, Frozen, ReadsAfter;

    /// <summary>Whether reads are of the chunk's start: no row of the coefficients and no write takes part.</summary>
    public int ReadsAtStart;
    public float Scale;

    /// <summary>Row ρ of a, b and G that a token reads with, which is the number of writes it sees.</summary>
    public readonly int ReadRow(int t) => t + ReadsAfter;
}

/// <summary>Gates of a scan's tokens, from tensors [B, T, H] that may be absent.</summary>
internal struct ScanGateArguments
{
    public Problems Problems;
    public Matrix LogAlpha, Erase, Mu, Theta;
    public Matrix AlphaOut, EraseOut, MuOut, ThetaOut;
}

/// <summary>X [n, columns] of each problem through a triangle [n, n], in place or added to another.</summary>
internal struct TriangleArguments
{
    public Problems Problems;
    public Matrix Triangle, In, Out;
    public int Columns;

    /// <summary>Whether the diagonal takes part.</summary>
    public int Diagonal;
}

internal static class ChunkKernels
{
    public static void Gates(ScanGateArguments a)
    {
        for (long i = Groups.First; i < (long)a.Problems.Count * a.Problems.Length; i += Groups.Stride)
        {
            Problem p = a.Problems.At((int)(i / a.Problems.Length));
            int t = (int)(i % a.Problems.Length);
            if (t >= a.Problems.LengthOf(p))
                continue;
            At(a.AlphaOut, p, t) = a.LogAlpha.Given ? Functions.Exp(At(a.LogAlpha, p, t)) : 1;
            At(a.EraseOut, p, t) = a.Erase.Given ? At(a.Erase, p, t) : 0;
            At(a.MuOut, p, t) = a.Mu.Given ? At(a.Mu, p, t) : 0;
            At(a.ThetaOut, p, t) = a.Theta.Given ? At(a.Theta, p, t) : 1;
        }
    }

    // c_t = μ_t c_{t−1}    a_t = α_t a_{t−1}    b_t = α_t b_{t−1} + c_t    X_t = μ_t X_{t−1} + e_t    G_t = α_t G_{t−1} + X_t
    // A work item takes one column of G and X, or a, b, c and the factors.
    public static void Coefficients(ChunkArguments a)
    {
        int columns = a.Problems.Length + 1;
        for (long work = Groups.First; work < (long)a.Problems.Count * columns; work += Groups.Stride)
        {
            Problem p = a.Problems.At((int)(work / columns));
            int i = (int)(work % columns), n = a.Problems.LengthOf(p);
            if (i == a.Problems.Length)
                Scalars(a, p, n);
            else if (i < n)
                Column(a, p, n, i);
        }
    }

    // N_ti = −ε_t G_{t−1,i} ⟨k_t, k_i⟩ for i < t;  M_ti = scale · G_ρi ⟨q_t, k_i⟩ for i < ρ
    public static void Triangles(ChunkArguments a)
    {
        int n = a.Problems.Length;
        for (long work = Groups.First; work < (long)a.Problems.Count * n * n; work += Groups.Stride)
        {
            Problem p = a.Problems.At((int)(work / n / n));
            int t = (int)(work / n % n), i = (int)(work % n);
            if (t >= a.Problems.LengthOf(p))
                continue;
            if (a.Erases != 0 && i < t)
                At(a.N, p, t, i) = -At(a.Erase, p, t) * At(a.G, p, t, i) * At(a.KeyProducts, p, t, i);
            int row = a.ReadRow(t);
            if (a.ReadsAtStart == 0 && i < row)
                At(a.M, p, t, i) = a.Scale * At(a.G, p, row, i) * At(a.QueryProducts, p, t, i);
        }
    }

    // W = .. + N W: forward substitution, a work item a column.
    public static void SolveLower(TriangleArguments a)
    {
        for (long work = Groups.First; work < (long)a.Problems.Count * a.Columns; work += Groups.Stride)
        {
            Problem p = a.Problems.At((int)(work / a.Columns));
            int column = (int)(work % a.Columns), n = a.Problems.LengthOf(p);
            for (int t = 1; t < n; t++)
            {
                float sum = At(a.Out, p, t, column);
                for (int i = 0; i < t; i++)
                    sum += At(a.Triangle, p, t, i) * At(a.Out, p, i, column);
                At(a.Out, p, t, column) = Functions.Flush(sum);
            }
        }
    }

    // Y = .. + Nᵀ Y: backward substitution.
    public static void SolveUpper(TriangleArguments a)
    {
        for (long work = Groups.First; work < (long)a.Problems.Count * a.Columns; work += Groups.Stride)
        {
            Problem p = a.Problems.At((int)(work / a.Columns));
            int column = (int)(work % a.Columns), n = a.Problems.LengthOf(p);
            for (int t = n - 2; t >= 0; t--)
            {
                float sum = At(a.Out, p, t, column);
                for (int i = t + 1; i < n; i++)
                    sum += At(a.Triangle, p, i, t) * At(a.Out, p, i, column);
                At(a.Out, p, t, column) = Functions.Flush(sum);
            }
        }
    }

    // out_t += Σ_{i < t or ≤ t} triangle_ti in_i. A triangle is not multiplied as a square with zeros: 0 · NaN would carry a
    // NaN from a later token to an earlier one.
    public static void AddLower(TriangleArguments a)
    {
        long size = (long)a.Problems.Length * a.Columns;
        for (long work = Groups.First; work < a.Problems.Count * size; work += Groups.Stride)
        {
            Problem p = a.Problems.At((int)(work / size));
            int t = (int)(work % size / a.Columns), column = (int)(work % a.Columns);
            if (t >= a.Problems.LengthOf(p))
                continue;
            float sum = At(a.Out, p, t, column);
            for (int i = 0; i < t + a.Diagonal; i++)
                sum += At(a.Triangle, p, t, i) * At(a.In, p, i, column);
            At(a.Out, p, t, column) = Functions.Flush(sum);
        }
    }

    // out_t += Σ_{i > t or ≥ t} triangle_it in_i
    public static void AddUpper(TriangleArguments a)
    {
        long size = (long)a.Problems.Length * a.Columns;
        for (long work = Groups.First; work < a.Problems.Count * size; work += Groups.Stride)
        {
            Problem p = a.Problems.At((int)(work / size));
            int t = (int)(work % size / a.Columns), column = (int)(work % a.Columns), n = a.Problems.LengthOf(p);
            if (t >= n)
                continue;
            float sum = At(a.Out, p, t, column);
            for (int i = t + 1 - a.Diagonal; i < n; i++)
                sum += At(a.Triangle, p, i, t) * At(a.In, p, i, column);
            At(a.Out, p, t, column) = Functions.Flush(sum);
        }
    }

    public static ref float At(Matrix m, Problem p, int i, int j) => ref m.View[m.Offset(p) + (long)i * m.Row + (long)j * m.Column];

    /// <summary>An element of a vector: of a matrix' first column.</summary>
    public static ref float At(Matrix m, Problem p, int i) => ref m.View[m.Offset(p) + (long)i * m.Row];

    private static void Scalars(ChunkArguments a, Problem p, int n)
    {
        float at = 1, bt = 0, ct = 1;
        for (int t = 0; t <= n; t++)
        {
            At(a.A, p, t) = at;
            if (a.Momentum != 0)
            {
                At(a.B, p, t) = bt;
                At(a.C, p, t) = ct;
            }

            // Token t's read before the write is with this row, and token t − 1's after it.
            int reader = t - a.ReadsAfter;
            if (reader >= 0 && reader < n)
            {
                At(a.ReadS, p, reader) = a.ReadsAtStart != 0 ? a.Scale : a.Scale * at;
                if (a.Momentum != 0)
                    At(a.ReadP, p, reader) = a.Scale * bt;
            }

            if (t < n)
            {
                float erase = At(a.Erase, p, t), alpha = At(a.Alpha, p, t);
                At(a.WriteS, p, t) = -(erase * at + (a.Frozen != 0 ? At(a.Theta, p, t) : 0));
                at = Functions.Flush(at * alpha);
                if (a.Momentum != 0)
                {
                    At(a.WriteP, p, t) = -erase * bt;
                    ct = Functions.Flush(ct * At(a.Mu, p, t));
                    bt = Functions.Flush(alpha * bt + ct);
                }
            }
        }
    }

    private static void Column(ChunkArguments a, Problem p, int n, int i)
    {
        float x = 1, g = 1;
        for (int t = i + 1; t <= n; t++)
        {
            if (t > i + 1)
            {
                x = a.Momentum != 0 ? Functions.Flush(At(a.Mu, p, t - 1) * x) : 0;
                g = Functions.Flush(At(a.Alpha, p, t - 1) * g + x);
            }

            At(a.G, p, t, i) = g;
            if (a.Momentum != 0)
                At(a.X, p, t, i) = x;
        }
    }
}
