using ILGPU;
using ILGPU.Algorithms;
using NestedLearning.Gpu.Cuda;

namespace NestedLearning.Gpu.Kernels;

/// <summary>A tensor's step of Adam.</summary>
internal struct AdamTensor : IShared
{
    /// <summary>M and V hold two bfloat16 an element with <see cref="AdamConstants.BFloat16"/>.</summary>
    public ArrayView<float> W, G, M, V;
    public AdamConstants Constants;

    public Share Share { get; set; }
}

/// <summary>A step for each of some tensors.</summary>
internal struct AdamCommitArguments
{
    public Batch<AdamTensor> Batch;
}

// g ← scale g (+ λ w, not decoupled)
// m ← β1 m + (1 − β1) g;  v ← β2 v + (1 − β2) g²;  w ← w − η (m / (1 − β1^n)) / (√(v / (1 − β2^n)) + ε) (− ηλ w, decoupled)
internal static class AdamKernels
{
    public static void Commit(AdamCommitArguments a)
    {
        ArrayView<double> shared = SharedMemory.Allocate<double>(Groups.Threads);
        for (int group = Grid.IdxX; group < a.Batch.Groups; group += Grid.DimX)
        {
            AdamTensor tensor = a.Batch.Of(group);
            Share share = tensor.Share;
            double change = 0, value = 0;
            for (long i = share.FirstItem(group); i < tensor.W.Length; i += share.Stride)
            {
                float before = tensor.W[i];
                Step(tensor, i, tensor.G[i]);
                if (tensor.Constants.Clear != 0)
                    tensor.G[i] = 0;
                double difference = (double)tensor.W[i] - before;
                change += difference * difference;
                value += (double)before * before;
            }

            a.Batch.Keep(share, group, shared, change, value);
        }
    }

    public static void Step(AdamTensor a, long i, float gradient)
    {
        AdamConstants c = a.Constants;
        ArrayView<ushort> halfM = a.M.Cast<ushort>(), halfV = a.V.Cast<ushort>();
        float w = Functions.Flush(a.W[i]);
        float g = Functions.Flush(Functions.Flush(gradient) * c.GradientScale + w * c.L2);
        float m = Functions.Flush(c.BFloat16 != 0 ? Widen(halfM[i]) : a.M[i]);
        float v = Functions.Flush(c.BFloat16 != 0 ? Widen(halfV[i]) : a.V[i]);
        m = Functions.Flush(m * c.Beta1 + g * c.Rest1);
        v = Functions.Flush(v * c.Beta2 + g * g * c.Rest2);
        float root = XMath.Sqrt(v * c.RootScale) + c.Epsilon;
        // Not (1 − ηλ) w, whose factor would be rounded to few of the bits of ηλ.
        a.W[i] = Functions.Flush(w - (w * c.Decay + m * c.Rate / root));
        if (c.BFloat16 == 0)
        {
            a.M[i] = m;
            a.V[i] = v;
            return;
        }

        uint bits = RandomBits(c.Seed, c.Step, i);
        halfM[i] = Round(m, bits);
        halfV[i] = Round(v, bits ^ 0xFFFF);
    }

    // The 16 bits of an element, in the order that nested_learning.h gives: two words of each of 16 blocks for the first
    // half of 128 elements, then two for the second.
    private static uint RandomBits(ulong seed, ulong stream, long element)
    {
        int at = (int)(element % 128), word = at / 2;
        (uint a, uint b, uint c, uint d) = new CounterRandom(seed, stream).Block((ulong)(element / 128 * 16 + word % 32 / 2));
        uint chosen = word < 32 ? ((word & 1) == 0 ? a : b) : (word & 1) == 0 ? c : d;
        return (chosen >> (at % 2 * 16)) & 0xFFFF;
    }

    private static float Widen(ushort half) => Interop.IntAsFloat((uint)half << 16);

    // Random bits are added below what is kept. A NaN, which might turn into a number, is cut off as it is.
    private static ushort Round(float value, uint random)
    {
        uint bits = (uint)Interop.FloatAsInt(value);
        return (ushort)((Functions.IsNaN(value) ? bits : bits + random) >> 16);
    }
}
