using System.Buffers;
using System.Numerics;

namespace NestedLearning;

internal sealed unsafe partial class ManagedBackend
{
    // The convolution's width, and the inputs it carries from chunk to chunk.
    private const int Taps = 4;
    private const int Carried = Taps - 1;

    // Tokens of one piece of the passes over tokens, and channels of one piece of the sums over tokens.
    private const int ConvolutionTokens = 32;
    private const int ConvolutionChannels = 32;

    // y_t = b + Σ_{j<4} w[:,j] ∘ x_{t−3+j},  x before the first token from state (null: 0)
    // x, y [B,T,D]  weight [D,4]  bias [D] or null  state, nextState [B,3,D] or null, nextState may be state
    public override void CausalConvolutionForward(Tensor x, Tensor weight, Tensor? bias, Tensor? state, Tensor y, Tensor? nextState)
    {
        int batch = x.Shape[0], time = x.Shape[1], width = x.Shape[2];
        float[] taps = TransposedTaps(weight, width);
        fixed (float* w = taps)
        {
            int blocks = Pieces(time, ConvolutionTokens);
            Work.For(
                batch * blocks, 8L * x.Count,
                new ConvolutionForwardAction(x.Pointer, w, PointerOf(bias), PointerOf(state), y.Pointer, blocks, time, width));
        }

        ArrayPool<float>.Shared.Return(taps);
        if (nextState is not null)
            Carry(x.Pointer, PointerOf(state), nextState.Pointer, batch, time, width);
    }

    // dx_t = Σ_{j<4} w[:,j] ∘ dy_{t+3−j};  dWeight[:,j] += Σ_{b,t} dy_t ∘ x_{t−3+j};  dBias += Σ_{b,t} dy_t
    public override void CausalConvolutionBackward(Tensor x, Tensor weight, Tensor? state, Tensor dy, Tensor? dx, Tensor? dWeight,
        Tensor? dBias)
    {
        int batch = x.Shape[0], time = x.Shape[1], width = x.Shape[2];
        if (dx is not null)
        {
            float[] taps = TransposedTaps(weight, width);
            fixed (float* w = taps)
            {
                int blocks = Pieces(time, ConvolutionTokens);
                Work.For(batch * blocks, 8L * x.Count, new ConvolutionBackwardAction(dy.Pointer, w, dx.Pointer, blocks, time, width));
            }

            ArrayPool<float>.Shared.Return(taps);
        }

        if (dWeight is not null || dBias is not null)
        {
            Work.For(
                Pieces(width, ConvolutionChannels), 8L * x.Count,
                new ConvolutionWeightsAction(x.Pointer, PointerOf(state), dy.Pointer, PointerOf(dWeight), PointerOf(dBias), batch, time,
                    width));
        }
    }

    /// <summary>The taps as [4, D], so that a tap's channels lie side by side. Rented.</summary>
    private static float[] TransposedTaps(Tensor weight, int width)
    {
        float[] taps = ArrayPool<float>.Shared.Rent(Math.Max(Taps * width, 1));
        ReadOnlySpan<float> w = weight.Span;
        for (int d = 0; d < width; d++)
        {
            for (int j = 0; j < Taps; j++)
                taps[j * width + d] = w[d * Taps + j];
        }

        return taps;
    }

    // The last three of (state, x), oldest first. The i-th comes from a row after the i-th of state, so writing over
    // state in ascending order is safe.
    private static void Carry(float* x, float* state, float* nextState, int batch, int time, int width)
    {
        for (int b = 0; b < batch; b++)
        {
            for (int i = 0; i < Carried; i++)
            {
                var kept = new Span<float>(nextState + (nint)(b * Carried + i) * width, width);
                float* source = Input(x, state, b, time - Carried + i, time, width);
                if (source == null)
                    kept.Clear();
                else
                    new ReadOnlySpan<float>(source, width).CopyTo(kept);
            }
        }
    }

    /// <summary>The row of x at token t ≥ −3, before the first token the carried one, null where that is zero.</summary>
    private static float* Input(float* x, float* state, int b, int t, int time, int width) =>
        t >= 0 ? x + ((nint)b * time + t) * width
        : state == null ? null
        : state + ((nint)b * Carried + Carried + t) * width;

    private readonly struct ConvolutionForwardAction(
        float* x, float* taps, float* bias, float* state, float* y, int blocks, int time, int width) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int b = piece / blocks, start = piece % blocks * ConvolutionTokens;
            int end = Math.Min(start + ConvolutionTokens, time);
            for (int t = start; t < end; t++)
            {
                float* output = y + ((nint)b * time + t) * width;
                if (bias == null)
                    new Span<float>(output, width).Clear();
                else
                    new ReadOnlySpan<float>(bias, width).CopyTo(new Span<float>(output, width));
                for (int j = 0; j < Taps; j++)
                {
                    float* input = Input(x, state, b, t - Carried + j, time, width);
                    if (input != null)
                        AddProduct(input, taps + (nint)j * width, output, width);
                }

                Subnormals.Flush(new Span<float>(output, width));
            }
        }
    }

    private readonly struct ConvolutionBackwardAction(float* dy, float* taps, float* dx, int blocks, int time, int width) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int b = piece / blocks, start = piece % blocks * ConvolutionTokens;
            int end = Math.Min(start + ConvolutionTokens, time);
            for (int t = start; t < end; t++)
            {
                float* gradient = dx + ((nint)b * time + t) * width;
                new Span<float>(gradient, width).Clear();
                for (int j = Carried; j >= 0 && t + Carried - j < time; j--)
                    AddProduct(dy + ((nint)b * time + t + Carried - j) * width, taps + (nint)j * width, gradient, width);
                Subnormals.Flush(new Span<float>(gradient, width));
            }
        }
    }

    // One block of channels over all tokens in order: float32 within ConvolutionTokens tokens, double across.
    private readonly struct ConvolutionWeightsAction(
        float* x, float* state, float* dy, float* dWeight, float* dBias, int batch, int time, int width) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int channel = piece * ConvolutionChannels;
            int channels = Math.Min(ConvolutionChannels, width - channel);

            // Rows 0 to 3 are the taps, row 4 is the bias.
            float* part = stackalloc float[(Taps + 1) * ConvolutionChannels];
            double* sum = stackalloc double[(Taps + 1) * ConvolutionChannels];
            var parts = new Span<float>(part, (Taps + 1) * ConvolutionChannels);
            var sums = new Span<double>(sum, (Taps + 1) * ConvolutionChannels);
            sums.Clear();
            for (int b = 0; b < batch; b++)
            {
                for (int start = 0; start < time; start += ConvolutionTokens)
                {
                    parts.Clear();
                    int end = Math.Min(start + ConvolutionTokens, time);
                    for (int t = start; t < end; t++)
                        Token(b, t, channel, channels, part);
                    for (int i = 0; i < sums.Length; i++)
                        sums[i] += parts[i];
                }
            }

            for (int d = 0; d < channels; d++)
            {
                for (int j = 0; j < Taps && dWeight != null; j++)
                {
                    float* element = dWeight + (nint)(channel + d) * Taps + j;
                    *element = Subnormals.Flush((float)(*element + sum[j * ConvolutionChannels + d]));
                }

                if (dBias != null)
                    dBias[channel + d] = Subnormals.Flush((float)(dBias[channel + d] + sum[Taps * ConvolutionChannels + d]));
            }
        }

        private void Token(int b, int t, int channel, int channels, float* part)
        {
            float* gradient = dy + ((nint)b * time + t) * width + channel;
            for (int j = 0; j < Taps && dWeight != null; j++)
            {
                float* input = Input(x, state, b, t - Carried + j, time, width);
                if (input != null)
                    AddProduct(input + channel, gradient, part + j * ConvolutionChannels, channels);
            }

            for (int d = 0; d < channels; d++)
                part[Taps * ConvolutionChannels + d] += gradient[d];
        }
    }

    // sum += x ∘ y
    private static void AddProduct(float* x, float* y, float* sum, int count)
    {
        int i = 0;
        for (; i <= count - Vector<float>.Count; i += Vector<float>.Count)
            Vector.Store(Vector.Load(sum + i) + Vector.Load(x + i) * Vector.Load(y + i), sum + i);
        for (; i < count; i++)
            sum[i] += x[i] * y[i];
    }
}
