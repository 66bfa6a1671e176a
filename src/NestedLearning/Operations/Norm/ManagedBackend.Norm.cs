using System.Buffers;
using System.Numerics;

namespace NestedLearning;

internal sealed unsafe partial class ManagedBackend
{
    // Rows of one piece of the passes over rows, and columns of one piece of the sums over rows.
    private const int NormRows = 16;
    private const int SumColumns = 64;

    // y = g ∘ (x − c) r + b for each row x [D]
    // RMS: c = 0, r = 1/√(Σx²/D + ε).  Layer: c = Σx/D, r = 1/√(Σ(x−c)²/D + ε).  L2: c = 0, r = 1/√(Σx² + ε²).
    // x, y [.., D]  gain, bias [D] or null; sums in double.
    public override void NormForward(NormKind kind, Tensor x, Tensor? gain, Tensor? bias, float epsilon, Tensor y)
    {
        int rows = x.Shape.Rows;
        Work.For(
            Pieces(rows, NormRows), 4L * x.Count,
            new NormForwardAction(kind, x.Pointer, PointerOf(gain), PointerOf(bias), epsilon, y.Pointer, rows, x.Shape.Last));
    }

    // With x̂ = (x − c) r and h = g ∘ dy, for each row:
    //   dx = r (h − [Layer: mean(h)] − x̂ s),  s = Σ(h x̂)/D,  for L2 s = Σ(h x̂)
    // and over all rows, in order:
    //   dGain += Σ dy ∘ x̂,  dBias += Σ dy
    public override void NormBackward(NormKind kind, Tensor x, Tensor? gain, float epsilon, Tensor dy, Tensor? dx, Tensor? dGain,
        Tensor? dBias)
    {
        int rows = x.Shape.Rows, width = x.Shape.Last;
        NormStatistics[] statistics = ArrayPool<NormStatistics>.Shared.Rent(Math.Max(rows, 1));
        if (dx is not null || dGain is not null)
        {
            Work.For(
                Pieces(rows, NormRows), 8L * x.Count,
                new NormBackwardAction(kind, x.Pointer, PointerOf(gain), epsilon, dy.Pointer, PointerOf(dx), rows, width, statistics));
        }

        if (dGain is not null || dBias is not null)
        {
            Work.For(
                Pieces(width, SumColumns), 4L * x.Count,
                new NormSumsAction(x.Pointer, dy.Pointer, PointerOf(dGain), PointerOf(dBias), rows, width, statistics));
        }

        ArrayPool<NormStatistics>.Shared.Return(statistics);
    }

    private static float* PointerOf(Tensor? tensor) => tensor is null ? null : tensor.Pointer;

    /// <summary>
    /// What a row is normalised by: x̂ = (x − centre) · scale. The centre is in two parts, its float32 and what that
    /// rounds off, so that a row far from zero keeps the digits its spread is in.
    /// </summary>
    private readonly struct NormStatistics(double centre, double scale)
    {
        private readonly float _centre = (float)centre;
        private readonly float _rest = (float)(centre - (float)centre);

        public readonly float Scale = (float)scale;

        public Vector<float> Normalise(Vector<float> x) => (x - new Vector<float>(_centre) - new Vector<float>(_rest)) * Scale;

        public float Normalise(float x) => (x - _centre - _rest) * Scale;

        public static NormStatistics Of(NormKind kind, ReadOnlySpan<float> row, float epsilon)
        {
            double d = row.Length;
            switch (kind)
            {
                case NormKind.Rms:
                    return new(0, 1 / Math.Sqrt(Reduction.SumOfSquares(row) / d + epsilon));
                case NormKind.L2:
                    return new(0, 1 / Math.Sqrt(Reduction.SumOfSquares(row) + (double)epsilon * epsilon));
                case NormKind.Layer:
                    double mean = Reduction.Sum(row) / d;
                    double variance = Reduction.SumOfSquaredDifferences(row, mean) / d;
                    return new(mean, 1 / Math.Sqrt(variance + epsilon));
                default:
                    throw new ArgumentOutOfRangeException(nameof(kind), kind, $"kind is {kind}, expected a defined one.");
            }
        }
    }

    private readonly struct NormForwardAction(NormKind kind, float* x, float* gain, float* bias, float epsilon, float* y, int rows,
        int width) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int end = Math.Min((piece + 1) * NormRows, rows);
            for (int row = piece * NormRows; row < end; row++)
                Row(x + (nint)row * width, y + (nint)row * width);
        }

        private void Row(float* x, float* y)
        {
            NormStatistics s = NormStatistics.Of(kind, new ReadOnlySpan<float>(x, width), epsilon);
            int i = 0;
            for (; i <= width - Vector<float>.Count; i += Vector<float>.Count)
            {
                Vector<float> normalised = s.Normalise(Vector.Load(x + i));
                if (gain != null)
                    normalised *= Vector.Load(gain + i);
                if (bias != null)
                    normalised += Vector.Load(bias + i);
                Vector.Store(Subnormals.Flush(normalised), y + i);
            }

            for (; i < width; i++)
            {
                float normalised = s.Normalise(x[i]);
                if (gain != null)
                    normalised *= gain[i];
                if (bias != null)
                    normalised += bias[i];
                y[i] = Subnormals.Flush(normalised);
            }
        }
    }

    private readonly struct NormBackwardAction(
        NormKind kind, float* x, float* gain, float epsilon, float* dy, float* dx, int rows, int width, NormStatistics[] statistics)
        : IPieceAction
    {
        public void Invoke(int piece)
        {
            int end = Math.Min((piece + 1) * NormRows, rows);
            for (int row = piece * NormRows; row < end; row++)
            {
                nint offset = (nint)row * width;
                statistics[row] = NormStatistics.Of(kind, new ReadOnlySpan<float>(x + offset, width), epsilon);
                if (dx != null)
                    Row(statistics[row], x + offset, dy + offset, dx + offset);
            }
        }

        private void Row(NormStatistics s, float* x, float* dy, float* dx)
        {
            // Σh and Σ(h x̂), h = g ∘ dy.
            Vector<double> sumLow = Vector<double>.Zero, sumHigh = Vector<double>.Zero;
            Vector<double> dotLow = Vector<double>.Zero, dotHigh = Vector<double>.Zero;
            int i = 0;
            for (; i <= width - Vector<float>.Count; i += Vector<float>.Count)
            {
                Vector<float> h = Vector.Load(dy + i);
                if (gain != null)
                    h *= Vector.Load(gain + i);
                Vector.Widen(h, out Vector<double> hLow, out Vector<double> hHigh);
                Vector.Widen(s.Normalise(Vector.Load(x + i)), out Vector<double> xLow, out Vector<double> xHigh);
                sumLow += hLow;
                sumHigh += hHigh;
                dotLow += hLow * xLow;
                dotHigh += hHigh * xHigh;
            }

            double sum = Vector.Sum(sumLow + sumHigh), dot = Vector.Sum(dotLow + dotHigh);
            for (; i < width; i++)
            {
                float h = gain == null ? dy[i] : gain[i] * dy[i];
                sum += h;
                dot += (double)h * s.Normalise(x[i]);
            }

            float mean = kind == NormKind.Layer ? (float)(sum / width) : 0;
            float along = (float)(kind == NormKind.L2 ? dot : dot / width);
            for (i = 0; i <= width - Vector<float>.Count; i += Vector<float>.Count)
            {
                Vector<float> h = Vector.Load(dy + i);
                if (gain != null)
                    h *= Vector.Load(gain + i);
                Vector<float> normalised = s.Normalise(Vector.Load(x + i));
                Vector.Store(Subnormals.Flush((h - new Vector<float>(mean) - normalised * along) * s.Scale), dx + i);
            }

            for (; i < width; i++)
            {
                float h = gain == null ? dy[i] : gain[i] * dy[i];
                float normalised = s.Normalise(x[i]);
                dx[i] = Subnormals.Flush((h - mean - normalised * along) * s.Scale);
            }
        }
    }

    // sums += Σ_rows dy,  weighted += Σ_rows dy ∘ x̂  for one block of columns, rows in order, in double.
    private readonly struct NormSumsAction(
        float* x, float* dy, float* weighted, float* sums, int rows, int width, NormStatistics[] statistics) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int column = piece * SumColumns;
            int columns = Math.Min(SumColumns, width - column);
            double* sum = stackalloc double[SumColumns];
            double* dot = stackalloc double[SumColumns];
            new Span<double>(sum, SumColumns).Clear();
            new Span<double>(dot, SumColumns).Clear();
            for (int row = 0; row < rows; row++)
            {
                nint offset = (nint)row * width + column;
                if (sums != null)
                    Accumulate(dy + offset, sum, columns);
                if (weighted != null)
                    Accumulate(dy + offset, x + offset, statistics[row], dot, columns);
            }

            for (int i = 0; i < columns; i++)
            {
                if (sums != null)
                    sums[column + i] = Subnormals.Flush((float)(sums[column + i] + sum[i]));
                if (weighted != null)
                    weighted[column + i] = Subnormals.Flush((float)(weighted[column + i] + dot[i]));
            }
        }

        private static void Accumulate(float* dy, double* sum, int columns)
        {
            int i = 0;
            for (; i <= columns - Vector<float>.Count; i += Vector<float>.Count)
                Add(Vector.Load(dy + i), sum + i);
            for (; i < columns; i++)
                sum[i] += dy[i];
        }

        private static void Accumulate(float* dy, float* x, NormStatistics s, double* sum, int columns)
        {
            int i = 0;
            for (; i <= columns - Vector<float>.Count; i += Vector<float>.Count)
                Add(Vector.Load(dy + i) * s.Normalise(Vector.Load(x + i)), sum + i);
            for (; i < columns; i++)
                sum[i] += dy[i] * s.Normalise(x[i]);
        }

        private static void Add(Vector<float> terms, double* sum)
        {
            Vector.Widen(terms, out Vector<double> low, out Vector<double> high);
            Vector.Store(Vector.Load(sum) + low, sum);
            Vector.Store(Vector.Load(sum + Vector<double>.Count) + high, sum + Vector<double>.Count);
        }
    }
}
