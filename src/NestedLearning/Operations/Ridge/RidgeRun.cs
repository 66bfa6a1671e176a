using System.Runtime.InteropServices;
using NestedLearning.Native;

namespace NestedLearning.Operations;

/// <summary>One group of samples on its way through a ridge memory in host memory.</summary>
internal unsafe struct RidgeRun
{
    /// <summary>Rows of a piece that reads, a multiple of a panel.</summary>
    public const int ReadRows = Kernels.RidgeRows;

    /// <summary>Columns of a piece that writes, and outputs of a piece that reads W.</summary>
    public const int Columns = Kernels.RidgeColumns;

    /// <summary>D, D as whole panels, V and n.</summary>
    public int Features, Padded, Outputs, Samples;

    /// <summary>The rows of L.</summary>
    public double* Rows;

    /// <summary>[n, Padded]: the samples' keys.</summary>
    public double* X;

    /// <summary>[Padded, n]: f, then c.</summary>
    public double* F;

    /// <summary>[Padded, n].</summary>
    public double* V;

    /// <summary>[n, V]: x W.</summary>
    public double* O;

    /// <summary>[n, V]: errors over α.</summary>
    public double* E;

    /// <summary>[D, V] and what it lacks of float64.</summary>
    public float* W, WLow;

    /// <summary>Pieces that read rows.</summary>
    public readonly int RowPieces => (Padded + ReadRows - 1) / ReadRows;

    /// <summary>Pieces that read, rows first, then blocks of outputs.</summary>
    public readonly int ReadPieces => RowPieces + (Outputs + Columns - 1) / Columns;

    /// <summary>Pieces that write.</summary>
    public readonly int WritePieces => (Padded + Columns - 1) / Columns;

    /// <summary>Operations of a pass.</summary>
    public readonly long Cost => (long)Samples * Padded * (Padded + 2L * Outputs);
}

/// <summary>The working memory of a group.</summary>
internal sealed unsafe class RidgeScratch : IDisposable
{
    private double* _memory;

    public RidgeScratch(ref RidgeRun run, int samples)
    {
        long features = (long)run.Padded * samples, outputs = (long)run.Outputs * samples, all = 3 * features + 2 * outputs + run.Padded;
        _memory = (double*)NativeMemory.AlignedAlloc((nuint)Math.Max(all, 1) * sizeof(double), 64);
        run.X = _memory;
        run.F = run.X + features;
        run.V = run.F + features;
        D = run.V + features;
        run.O = D + run.Padded;
        run.E = run.O + outputs;
    }

    /// <summary>[Padded]: d after the group.</summary>
    public double* D { get; }

    public void Dispose()
    {
        NativeMemory.AlignedFree(_memory);
        _memory = null;
    }
}
