using ILGPU;
using ILGPU.Algorithms;

namespace NestedLearning.Gpu.Kernels;

/// <summary>
/// A chunk's gradients, from products that are there already. Names as in native/kernels/scan/README.md.
/// </summary>
internal struct ChunkBackwardArguments
{
    public ChunkArguments Chunk;

    /// <summary>Tokens' rows: inputs, and dO; a matrix that is not given takes no part.</summary>
    public Matrix Q, K, U, DO;

    /// <summary>V = W dSᵀ and W dPᵀ, Z = Y Sᵀ and Y Pᵀ, R = dO Sᵀ and dO Pᵀ [n, Dk]; Y [n, Dv].</summary>
    public Matrix LeftS, LeftP, WrittenS, WrittenP, ReadRowsS, ReadRowsP, Y;

    /// <summary>Y S_cᵀ [n, Dk], where S_c is not S and writes hold −θ k S_c.</summary>
    public Matrix WrittenStart;

    /// <summary>⟨y_t, w_i⟩ and ⟨do_t, w_i⟩, which become D and F; the second where reads see writes.</summary>
    public Matrix WriteProducts, ReadProducts;

    /// <summary>⟨dS, S⟩, ⟨dS, P⟩ and ⟨dP, P⟩: a row of three for each problem.</summary>
    public Matrix StateDots;

    /// <summary>Tokens' row sums [n, 6]: ⟨k, v⟩, ⟨k, v'⟩, κ, κ', ⟨r, q⟩, ⟨r', q⟩.</summary>
    public Matrix Dots;

    /// <summary>Gradients of the coefficients.</summary>
    public Matrix DA, DB, DC, DG, DX;

    /// <summary>Results: tokens' rows and gates.</summary>
    public Matrix DQ, DK, DU, DLogAlpha, DErase, DMu, DTheta;

    public int KeyDim, ValueDim;
}

/// <summary>Two matrices of each problem, whose elements' products are summed.</summary>
internal struct StateDotArguments
{
    public Problems Problems;
    public Matrix X, Y, Out;
    public int Rows, Columns;
}

internal static class ChunkBackwardKernels
{
    // out = Σ x ∘ y of each problem, by a group
    public static void StateDot(StateDotArguments a)
    {
        ArrayView<double> shared = SharedMemory.Allocate<double>(Groups.Threads);
        for (int problem = Grid.IdxX; problem < a.Problems.Count; problem += Grid.DimX)
        {
            Problem p = a.Problems.At(problem);
            double sum = 0;
            for (int i = Group.IdxX; i < a.Rows * a.Columns; i += Group.DimX)
                sum += (double)ChunkKernels.At(a.X, p, i / a.Columns, i % a.Columns)
                    * ChunkKernels.At(a.Y, p, i / a.Columns, i % a.Columns);
            sum = Groups.Sum(shared, sum);
            if (Group.IdxX == 0)
                ChunkKernels.At(a.Out, p, 0) = (float)sum;
        }
    }

    public static void Dots(ChunkBackwardArguments a)
    {
        int n = a.Chunk.Problems.Length;
        for (long work = Groups.First; work < (long)a.Chunk.Problems.Count * n; work += Groups.Stride)
        {
            Problem p = a.Chunk.Problems.At((int)(work / n));
            int t = (int)(work % n);
            if (t >= a.Chunk.Problems.LengthOf(p))
                continue;
            ChunkKernels.At(a.Dots, p, t, 0) = Dot(a.LeftS, a.K, p, t, a.KeyDim);
            ChunkKernels.At(a.Dots, p, t, 1) = Dot(a.LeftP, a.K, p, t, a.KeyDim);
            ChunkKernels.At(a.Dots, p, t, 2) = Dot(a.WrittenS, a.K, p, t, a.KeyDim);
            ChunkKernels.At(a.Dots, p, t, 3) = Dot(a.WrittenP, a.K, p, t, a.KeyDim);
            ChunkKernels.At(a.Dots, p, t, 4) = Dot(a.ReadRowsS, a.Q, p, t, a.KeyDim);
            ChunkKernels.At(a.Dots, p, t, 5) = Dot(a.ReadRowsP, a.Q, p, t, a.KeyDim);
        }
    }

    // dG and dX, taken back through their recurrences column by column, and da, db, dc likewise.
    public static void Coefficients(ChunkBackwardArguments a)
    {
        int columns = a.Chunk.Problems.Length + 1;
        for (long work = Groups.First; work < (long)a.Chunk.Problems.Count * columns; work += Groups.Stride)
        {
            Problem p = a.Chunk.Problems.At((int)(work / columns));
            int i = (int)(work % columns), n = a.Chunk.Problems.LengthOf(p);
            if (i == a.Chunk.Problems.Length)
                Scalars(a, p, n);
            else if (i < n)
                Column(a, p, n, i);
        }
    }

    // dα, dμ, dε and dθ of each token.
    public static void Gates(ChunkBackwardArguments a)
    {
        int n = a.Chunk.Problems.Length;
        for (long work = Groups.First; work < (long)a.Chunk.Problems.Count * n; work += Groups.Stride)
        {
            Problem p = a.Chunk.Problems.At((int)(work / n));
            int t = (int)(work % n);
            if (t < a.Chunk.Problems.LengthOf(p))
                GatesOf(a, p, t);
        }
    }

    // D_ti = −ε_t G_{t−1,i} ⟨y_t, w_i⟩ for i < t;  F_ti = scale · G_ρi ⟨do_t, w_i⟩ for i < ρ; in place
    public static void Triangles(ChunkBackwardArguments a)
    {
        int n = a.Chunk.Problems.Length;
        for (long work = Groups.First; work < (long)a.Chunk.Problems.Count * n * n; work += Groups.Stride)
        {
            Problem p = a.Chunk.Problems.At((int)(work / n / n));
            int t = (int)(work / n % n), i = (int)(work % n);
            if (t >= a.Chunk.Problems.LengthOf(p))
                continue;
            if (a.Chunk.Erases != 0 && i < t)
                ChunkKernels.At(a.WriteProducts, p, t, i) *= -ChunkKernels.At(a.Chunk.Erase, p, t) * ChunkKernels.At(a.Chunk.G, p, t, i);
            int row = a.Chunk.ReadRow(t);
            if (a.ReadProducts.Given && i < row)
                ChunkKernels.At(a.ReadProducts, p, t, i) *= a.Chunk.Scale * ChunkKernels.At(a.Chunk.G, p, row, i);
        }
    }

    // dq_t = readS r + readP r' + Σ_{i<ρ} F_ti k_i
    // dk_t = G_nt v + X_nt v' + writeS z + writeP z' + Σ_{i<t} D_ti k_i + Σ_{i>t} D_it k_i + Σ_{ρ(i)>t} F_it q_i
    public static void Rows(ChunkBackwardArguments a)
    {
        long size = (long)a.Chunk.Problems.Length * a.KeyDim;
        for (long work = Groups.First; work < a.Chunk.Problems.Count * size; work += Groups.Stride)
        {
            Problem p = a.Chunk.Problems.At((int)(work / size));
            int t = (int)(work % size / a.KeyDim), d = (int)(work % a.KeyDim), n = a.Chunk.Problems.LengthOf(p);
            if (t >= n)
                continue;
            float dq = 0, dk = ChunkKernels.At(a.Chunk.G, p, n, t) * ChunkKernels.At(a.LeftS, p, t, d);
            if (a.LeftP.Given)
                dk += ChunkKernels.At(a.Chunk.X, p, n, t) * ChunkKernels.At(a.LeftP, p, t, d);
            if (a.WrittenS.Given)
                dk += ChunkKernels.At(a.Chunk.WriteS, p, t) * ChunkKernels.At(a.WrittenS, p, t, d);
            if (a.WrittenP.Given)
                dk += ChunkKernels.At(a.Chunk.WriteP, p, t) * ChunkKernels.At(a.WrittenP, p, t, d);
            if (a.WrittenStart.Given)
                dk -= ChunkKernels.At(a.Chunk.Theta, p, t) * ChunkKernels.At(a.WrittenStart, p, t, d);
            if (a.Chunk.Erases != 0)
            {
                for (int i = 0; i < t; i++)
                    dk += ChunkKernels.At(a.WriteProducts, p, t, i) * ChunkKernels.At(a.K, p, i, d);
                for (int i = t + 1; i < n; i++)
                    dk += ChunkKernels.At(a.WriteProducts, p, i, t) * ChunkKernels.At(a.K, p, i, d);
            }

            if (a.DO.Given)
            {
                dq = ChunkKernels.At(a.Chunk.ReadS, p, t) * ChunkKernels.At(a.ReadRowsS, p, t, d);
                if (a.ReadRowsP.Given)
                    dq += ChunkKernels.At(a.Chunk.ReadP, p, t) * ChunkKernels.At(a.ReadRowsP, p, t, d);
            }

            if (a.ReadProducts.Given)
            {
                for (int i = 0; i < a.Chunk.ReadRow(t); i++)
                    dq += ChunkKernels.At(a.ReadProducts, p, t, i) * ChunkKernels.At(a.K, p, i, d);
                for (int i = t + 1 - a.Chunk.ReadsAfter; i < n; i++)
                    dk += ChunkKernels.At(a.ReadProducts, p, i, t) * ChunkKernels.At(a.Q, p, i, d);
            }

            if (a.DQ.Given)
                ChunkKernels.At(a.DQ, p, t, d) = Functions.Flush(dq);
            if (a.DK.Given)
                ChunkKernels.At(a.DK, p, t, d) = Functions.Flush(dk);
        }
    }

    // dU = θ ∘ Y
    public static void Writes(ChunkBackwardArguments a)
    {
        long size = (long)a.Chunk.Problems.Length * a.ValueDim;
        for (long work = Groups.First; work < a.Chunk.Problems.Count * size; work += Groups.Stride)
        {
            Problem p = a.Chunk.Problems.At((int)(work / size));
            int t = (int)(work % size / a.ValueDim), d = (int)(work % a.ValueDim);
            if (t < a.Chunk.Problems.LengthOf(p))
                ChunkKernels.At(a.DU, p, t, d) = Functions.Flush(ChunkKernels.At(a.Chunk.Theta, p, t) * ChunkKernels.At(a.Y, p, t, d));
        }
    }

    private static float Dot(Matrix x, Matrix y, Problem p, int t, int count)
    {
        float sum = 0;
        if (!x.Given)
            return sum;
        for (int d = 0; d < count; d++)
            sum += ChunkKernels.At(x, p, t, d) * ChunkKernels.At(y, p, t, d);
        return sum;
    }

    // What reaches a row of a (or of b) from the token that writes, the token that reads and, for the last, the state.
    private static float OfRow(ChunkBackwardArguments a, Problem p, int n, int row, int dot, float left)
    {
        float sum = row == n ? left : -ChunkKernels.At(a.Chunk.Erase, p, row) * ChunkKernels.At(a.Dots, p, row, 2 + dot);
        int reader = row - a.Chunk.ReadsAfter;
        if (a.Chunk.ReadsAtStart == 0 && reader >= 0 && reader < n)
            sum += a.Chunk.Scale * ChunkKernels.At(a.Dots, p, reader, 4 + dot);
        return sum;
    }

    private static void Scalars(ChunkBackwardArguments a, Problem p, int n)
    {
        float da = 0, db = 0, dc = 0;
        for (int t = n; t >= 0; t--)
        {
            if (t < n)
            {
                // Token t, counted from 0, leads from row t to row t + 1.
                float alpha = ChunkKernels.At(a.Chunk.Alpha, p, t);
                da *= alpha;
                if (a.Chunk.Momentum != 0)
                {
                    db *= alpha;
                    dc *= ChunkKernels.At(a.Chunk.Mu, p, t);
                }
            }

            da += OfRow(a, p, n, t, 0, ChunkKernels.At(a.StateDots, p, 0));
            ChunkKernels.At(a.DA, p, t) = da;
            if (a.Chunk.Momentum != 0)
            {
                db += OfRow(a, p, n, t, 1, ChunkKernels.At(a.StateDots, p, 1));
                ChunkKernels.At(a.DB, p, t) = db;
                // b_t = .. + c_t, but for the first row, where both are given.
                dc += (t == n ? ChunkKernels.At(a.StateDots, p, 2) : 0) + (t > 0 ? db : 0);
                ChunkKernels.At(a.DC, p, t) = dc;
            }
        }
    }

    private static void Column(ChunkBackwardArguments a, Problem p, int n, int i)
    {
        float dg = 0, dx = 0;
        for (int t = n; t > i; t--)
        {
            if (t < n)
            {
                dg *= ChunkKernels.At(a.Chunk.Alpha, p, t);
                if (a.Chunk.Momentum != 0)
                    dx *= ChunkKernels.At(a.Chunk.Mu, p, t);
            }

            if (t == n)
            {
                dg += ChunkKernels.At(a.Dots, p, i, 0);
                dx += ChunkKernels.At(a.Dots, p, i, 1);
            }
            else if (a.Chunk.Erases != 0)
            {
                dg -= ChunkKernels.At(a.Chunk.Erase, p, t) * ChunkKernels.At(a.Chunk.KeyProducts, p, t, i)
                    * ChunkKernels.At(a.WriteProducts, p, t, i);
            }

            int reader = t - a.Chunk.ReadsAfter;
            if (a.ReadProducts.Given && reader < n)
                dg += a.Chunk.Scale * ChunkKernels.At(a.Chunk.QueryProducts, p, reader, i) * ChunkKernels.At(a.ReadProducts, p, reader, i);
            ChunkKernels.At(a.DG, p, t, i) = dg;
            if (a.Chunk.Momentum != 0)
            {
                dx += dg;
                ChunkKernels.At(a.DX, p, t, i) = dx;
            }
        }
    }

    private static void GatesOf(ChunkBackwardArguments a, Problem p, int t)
    {
        // Token t leads from row t of the coefficients to row t + 1.
        float dAlpha = ChunkKernels.At(a.DA, p, t + 1) * ChunkKernels.At(a.Chunk.A, p, t), dMu = 0;
        for (int i = 0; i < t; i++)
            dAlpha += ChunkKernels.At(a.DG, p, t + 1, i) * ChunkKernels.At(a.Chunk.G, p, t, i);
        if (a.Chunk.Momentum != 0)
        {
            dAlpha += ChunkKernels.At(a.DB, p, t + 1) * ChunkKernels.At(a.Chunk.B, p, t);
            dMu = ChunkKernels.At(a.DC, p, t + 1) * ChunkKernels.At(a.Chunk.C, p, t);
            for (int i = 0; i < t; i++)
                dMu += ChunkKernels.At(a.DX, p, t + 1, i) * ChunkKernels.At(a.Chunk.X, p, t, i);
        }

        if (a.DLogAlpha.Given)
            ChunkKernels.At(a.DLogAlpha, p, t) = Functions.Flush(ChunkKernels.At(a.Chunk.Alpha, p, t) * dAlpha);
        if (a.DMu.Given)
            ChunkKernels.At(a.DMu, p, t) = Functions.Flush(dMu);
        float kappa = ChunkKernels.At(a.Dots, p, t, 2);
        if (a.DErase.Given)
        {
            float dErase = -ChunkKernels.At(a.Chunk.A, p, t) * kappa;
            if (a.Chunk.Momentum != 0)
                dErase -= ChunkKernels.At(a.Chunk.B, p, t) * ChunkKernels.At(a.Dots, p, t, 3);
            for (int i = 0; i < t; i++)
                dErase -= ChunkKernels.At(a.Chunk.G, p, t, i) * ChunkKernels.At(a.Chunk.KeyProducts, p, t, i)
                    * ChunkKernels.At(a.WriteProducts, p, t, i);
            ChunkKernels.At(a.DErase, p, t) = Functions.Flush(dErase);
        }

        if (a.DTheta.Given)
            ChunkKernels.At(a.DTheta, p, t) =
                Functions.Flush(Dot(a.Y, a.U, p, t, a.ValueDim) - (a.Chunk.Frozen != 0 ? kappa : 0)
                - Dot(a.WrittenStart, a.K, p, t, a.KeyDim));
    }
}
