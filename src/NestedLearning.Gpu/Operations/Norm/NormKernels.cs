using ILGPU;
using ILGPU.Algorithms;

namespace NestedLearning.Gpu.Kernels;

/// <summary>Rows of width D; see <see cref="Backend.NormForward"/> and <see cref="Backend.NormBackward"/>.</summary>
internal struct NormArguments
{
    public ArrayView<float> X, Gain, Bias, Y, DY, DX;

    /// <summary>Three numbers a row: the centre in two parts, its float32 and what that rounds off, and the scale.</summary>
    public ArrayView<float> Statistics;

    /// <summary>[blocks, 2, D]: sums of dy and of dy ∘ x̂.</summary>
    public ArrayView<double> Parts;
    public int Kind, Rows, Width, Blocks;
    public float Epsilon;
}

// y = g ∘ x̂ + b,  x̂ = (x − c) r
// RMS: c = 0, r = 1/√(Σx²/D + ε).  Layer: c = Σx/D, r = 1/√(Σ(x−c)²/D + ε).  L2: c = 0, r = 1/√(Σx² + ε²).  Sums in double.
internal static class NormKernels
{
    public static void Forward(NormArguments a)
    {
        ArrayView<double> shared = SharedMemory.Allocate<double>(Groups.Threads);
        for (int row = Grid.IdxX; row < a.Rows; row += Grid.DimX)
        {
            Statistics(a, shared, row, out float centre, out float rest, out float scale);
            for (int i = Group.IdxX; i < a.Width; i += Group.DimX)
            {
                float y = (a.X[(long)row * a.Width + i] - centre - rest) * scale;
                if (a.Gain.Length != 0)
                    y *= a.Gain[i];
                if (a.Bias.Length != 0)
                    y += a.Bias[i];
                a.Y[(long)row * a.Width + i] = Functions.Flush(y);
            }
        }
    }

    // With h = g ∘ dy:  dx = r (h − [Layer: mean(h)] − x̂ s),  s = Σ(h x̂)/D,  for L2 s = Σ(h x̂)
    public static void Backward(NormArguments a)
    {
        ArrayView<double> shared = SharedMemory.Allocate<double>(Groups.Threads);
        for (int row = Grid.IdxX; row < a.Rows; row += Grid.DimX)
        {
            long start = (long)row * a.Width;
            Statistics(a, shared, row, out float centre, out float rest, out float scale);
            if (Group.IdxX == 0)
            {
                a.Statistics[3L * row] = centre;
                a.Statistics[3L * row + 1] = rest;
                a.Statistics[3L * row + 2] = scale;
            }

            double sum = 0, dot = 0;
            for (int i = Group.IdxX; i < a.Width; i += Group.DimX)
            {
                float h = a.Gain.Length != 0 ? a.Gain[i] * a.DY[start + i] : a.DY[start + i];
                sum += h;
                dot += (double)h * ((a.X[start + i] - centre - rest) * scale);
            }

            sum = Groups.Sum(shared, sum);
            dot = Groups.Sum(shared, dot);
            float mean = a.Kind == (int)NormKind.Layer ? (float)(sum / a.Width) : 0;
            float along = a.Kind == (int)NormKind.L2 ? (float)dot : (float)(dot / a.Width);
            for (int i = Group.IdxX; i < a.Width && a.DX.Length != 0; i += Group.DimX)
            {
                float h = a.Gain.Length != 0 ? a.Gain[i] * a.DY[start + i] : a.DY[start + i];
                a.DX[start + i] = Functions.Flush((h - mean - (a.X[start + i] - centre - rest) * scale * along) * scale);
            }
        }
    }

    // parts[block] = Σ dy and Σ dy ∘ x̂ of the block's rows
    public static void GainBlocks(NormArguments a)
    {
        for (long i = Groups.First; i < (long)a.Blocks * a.Width; i += Groups.Stride)
        {
            int block = (int)(i / a.Width), column = (int)(i % a.Width);
            double sum = 0, dot = 0;
            for (int row = block * ColumnSumKernels.Block; row < XMath.Min(a.Rows, (block + 1) * ColumnSumKernels.Block); row++)
            {
                float dy = a.DY[(long)row * a.Width + column];
                sum += dy;
                dot += dy * ((a.X[(long)row * a.Width + column] - a.Statistics[3L * row] - a.Statistics[3L * row + 1])
                    * a.Statistics[3L * row + 2]);
            }

            a.Parts[2L * block * a.Width + column] = sum;
            a.Parts[(2L * block + 1) * a.Width + column] = dot;
        }
    }

    private static void Statistics(NormArguments a, ArrayView<double> shared, int row, out float centre, out float rest, out float scale)
    {
        long start = (long)row * a.Width;
        double sum = 0;
        for (int i = Group.IdxX; i < a.Width && a.Kind == (int)NormKind.Layer; i += Group.DimX)
            sum += a.X[start + i];
        double mean = Groups.Sum(shared, sum) / a.Width;

        sum = 0;
        for (int i = Group.IdxX; i < a.Width; i += Group.DimX)
        {
            double difference = a.X[start + i] - mean;
            sum += difference * difference;
        }

        sum = Groups.Sum(shared, sum);
        double square = a.Kind == (int)NormKind.L2 ? sum + (double)a.Epsilon * a.Epsilon : sum / a.Width + a.Epsilon;
        centre = (float)mean;
        rest = (float)(mean - centre);
        scale = (float)(1 / XMath.Sqrt(square));
    }
}
