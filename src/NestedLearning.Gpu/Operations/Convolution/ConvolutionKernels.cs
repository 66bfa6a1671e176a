using ILGPU;
using ILGPU.Algorithms;

namespace NestedLearning.Gpu.Kernels;

/// <summary>x [B, T, D], weight [D, 4], state [B, 3, D]; see <see cref="Backend.CausalConvolutionForward"/>.</summary>
internal struct ConvolutionArguments
{
    public ArrayView<float> X, Weight, Bias, State, Y, NextState, DY, DX;

    /// <summary>[blocks of tokens of all sequences, 5, D]: the taps' sums and the bias'.</summary>
    public ArrayView<double> Parts;
    public int Batch, Time, Width, Blocks;
}

internal static class ConvolutionKernels
{
    public const int Taps = 4;

    private const int Carried = Taps - 1;

    // y_t = b + Σ_{j<4} w[:,j] ∘ x_{t−3+j}
    public static void Forward(ConvolutionArguments a)
    {
        for (long i = Groups.First; i < a.X.Length; i += Groups.Stride)
        {
            int d = (int)(i % a.Width), t = (int)(i / a.Width % a.Time), b = (int)(i / a.Width / a.Time);
            float y = a.Bias.Length != 0 ? a.Bias[d] : 0;
            for (int j = 0; j < Taps; j++)
            {
                if (Has(a, t - Carried + j))
                    y += Input(a, b, t - Carried + j, d) * a.Weight[d * Taps + j];
            }

            a.Y[i] = Functions.Flush(y);
        }
    }

    // The last three of (state, x), oldest first, in ascending order, so that nextState may be state.
    public static void Carry(ConvolutionArguments a)
    {
        for (long i = Groups.First; i < (long)a.Batch * a.Width; i += Groups.Stride)
        {
            int d = (int)(i % a.Width), b = (int)(i / a.Width);
            for (int j = 0; j < Carried; j++)
                a.NextState[((long)b * Carried + j) * a.Width + d] = Has(a, a.Time - Carried + j) ? Input(a, b, a.Time - Carried + j, d)
                    : 0;
        }
    }

    // dx_t = Σ_{j<4} w[:,j] ∘ dy_{t+3−j}
    public static void Backward(ConvolutionArguments a)
    {
        for (long i = Groups.First; i < a.X.Length; i += Groups.Stride)
        {
            int d = (int)(i % a.Width), t = (int)(i / a.Width % a.Time);
            float dx = 0;
            for (int j = Carried; j >= 0 && t + Carried - j < a.Time; j--)
                dx += a.DY[i + (long)(Carried - j) * a.Width] * a.Weight[d * Taps + j];
            a.DX[i] = Functions.Flush(dx);
        }
    }

    // parts[block] = Σ dy_t ∘ x_{t−3+j} for each tap, and Σ dy_t, over the block's tokens
    public static void WeightBlocks(ConvolutionArguments a)
    {
        for (long i = Groups.First; i < (long)a.Blocks * a.Width; i += Groups.Stride)
        {
            int block = (int)(i / a.Width), d = (int)(i % a.Width);
            double tap0 = 0, tap1 = 0, tap2 = 0, tap3 = 0, bias = 0;
            for (int row = block * ColumnSumKernels.Block; row < XMath.Min(a.Batch * a.Time, (block + 1) * ColumnSumKernels.Block); row++)
            {
                int b = row / a.Time, t = row % a.Time;
                float dy = a.DY[(long)row * a.Width + d];
                bias += dy;
                if (Has(a, t - 3))
                    tap0 += dy * Input(a, b, t - 3, d);
                if (Has(a, t - 2))
                    tap1 += dy * Input(a, b, t - 2, d);
                if (Has(a, t - 1))
                    tap2 += dy * Input(a, b, t - 1, d);
                tap3 += dy * Input(a, b, t, d);
            }

            long at = (long)block * (Taps + 1) * a.Width + d;
            a.Parts[at] = tap0;
            a.Parts[at + a.Width] = tap1;
            a.Parts[at + 2L * a.Width] = tap2;
            a.Parts[at + 3L * a.Width] = tap3;
            a.Parts[at + 4L * a.Width] = bias;
        }
    }

    private static bool Has(ConvolutionArguments a, int t) => t >= 0 || a.State.Length != 0;

    private static float Input(ConvolutionArguments a, int b, int t, int d) =>
        t >= 0 ? a.X[((long)b * a.Time + t) * a.Width + d] : a.State[((long)b * Carried + Carried + t) * a.Width + d];
}
