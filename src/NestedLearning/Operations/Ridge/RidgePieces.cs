using System.Numerics;

namespace NestedLearning.Operations;

/// <summary>f_j = L_j x_s for the rows of a block, or x_s W for a block of outputs.</summary>
internal readonly unsafe struct RidgeReadPiece(RidgeRun run) : IPieceAction
{
    public void Invoke(int piece)
    {
        if (piece >= run.RowPieces)
        {
            ReadOutputs((piece - run.RowPieces) * RidgeRun.Columns);
            return;
        }

        for (int j = piece * RidgeRun.ReadRows; j < Math.Min(run.Padded, (piece + 1) * RidgeRun.ReadRows); j++)
        {
            double* row = run.Rows + RidgeLayout.Row(j);
            for (int s = 0; s < run.Samples; s++)
                run.F[(nint)j * run.Samples + s] = Dot(row, run.X + (nint)s * run.Padded, RidgeLayout.RowLength(j));
        }
    }

    private void ReadOutputs(int first)
    {
        int columns = Math.Min(RidgeRun.Columns, run.Outputs - first);
        double* sums = stackalloc double[RidgeRun.Columns];
        for (int s = 0; s < run.Samples; s++)
        {
            new Span<double>(sums, RidgeRun.Columns).Clear();
            for (int i = 0; i < run.Features; i++)
            {
                double key = run.X[(nint)s * run.Padded + i];
                nint row = (nint)i * run.Outputs + first;
                for (int k = 0; k < columns; k++)
                    sums[k] += key * ((double)run.W[row + k] + run.WLow[row + k]);
            }

            new Span<double>(sums, columns).CopyTo(new Span<double>(run.O + (nint)s * run.Outputs + first, columns));
        }
    }

    // Rows are whole vectors long; four sums, so that one need not wait for the next.
    private static double Dot(double* x, double* y, int count)
    {
        Vector<double> a = default, b = default, c = default, d = default;
        int i = 0, width = Vector<double>.Count;
        for (; i <= count - 4 * width; i += 4 * width)
        {
            a += Vector.Load(x + i) * Vector.Load(y + i);
            b += Vector.Load(x + i + width) * Vector.Load(y + i + width);
            c += Vector.Load(x + i + 2 * width) * Vector.Load(y + i + 2 * width);
            d += Vector.Load(x + i + 3 * width) * Vector.Load(y + i + 3 * width);
        }

        for (; i < count; i += width)
            a += Vector.Load(x + i) * Vector.Load(y + i);
        return Vector.Sum(a + b + (c + d));
    }
}

/// <summary>
/// For each row j  L_j ← L_j − c_j K,  K ← K + v_j L_j (before)  in a block of columns, then W ← W + K e in as many rows.
/// </summary>
internal readonly unsafe struct RidgeWritePiece(RidgeRun run) : IPieceAction
{
    public void Invoke(int piece)
    {
        int first = piece * RidgeRun.Columns, columns = Math.Min(RidgeRun.Columns, run.Padded - first);
        int width = Vector<double>.Count;
        double* gains = stackalloc double[RidgeLayout.Group * RidgeRun.Columns];
        new Span<double>(gains, RidgeLayout.Group * RidgeRun.Columns).Clear();
        for (int j = first; j < run.Padded; j++)
        {
            double* row = run.Rows + RidgeLayout.Row(j) + first;
            double* change = run.F + (nint)j * run.Samples, write = run.V + (nint)j * run.Samples;
            int length = Math.Min(columns, RidgeLayout.RowLength(j) - first);
            for (int i = 0; i < length; i += width)
            {
                Vector<double> element = Vector.Load(row + i);
                for (int s = 0; s < run.Samples; s++)
                {
                    double* gain = gains + s * RidgeRun.Columns + i;
                    Vector<double> k = Vector.Load(gain), before = element;
                    element -= k * change[s];
                    (k + before * write[s]).Store(gain);
                }

                element.Store(row + i);
            }
        }

        for (int i = first; i < Math.Min(first + columns, run.Features); i++)
            WriteOutputs(i, gains + (i - first));
    }

    private void WriteOutputs(int i, double* gains)
    {
        float* high = run.W + (nint)i * run.Outputs, low = run.WLow + (nint)i * run.Outputs;
        for (int k = 0; k < run.Outputs; k++)
        {
            double sum = (double)high[k] + low[k];
            for (int s = 0; s < run.Samples; s++)
                sum += gains[s * RidgeRun.Columns] * run.E[(nint)s * run.Outputs + k];
            high[k] = Subnormals.Flush((float)sum);
            low[k] = Subnormals.Flush((float)(sum - high[k]));
        }
    }
}
