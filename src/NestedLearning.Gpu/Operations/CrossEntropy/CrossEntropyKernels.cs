using ILGPU;

namespace NestedLearning.Gpu.Kernels;

/// <summary>Logits [N, V]; see <see cref="Backend.CrossEntropyForward"/>.</summary>
internal struct CrossEntropyArguments
{
    public ArrayView<float> Logits, Losses, LogSums, DLosses, DLogits;
    public ArrayView<int> Targets;
    public int Count, Classes;
    public float GradientScale;
}

internal static class CrossEntropyKernels
{
    private const int Ignored = -1;

    // logSum_n = m + log Σ_v e^(logits[n,v] − m), m the row's maximum;  loss_n = logSum_n − logits[n, target_n], or 0
    public static void Forward(CrossEntropyArguments a)
    {
        ArrayView<double> shared = SharedMemory.Allocate<double>(Groups.Threads);
        ArrayView<float> maxima = SharedMemory.Allocate<float>(Groups.Threads);
        for (int n = Grid.IdxX; n < a.Count; n += Grid.DimX)
        {
            float logSum = LogSum(a, n, shared, maxima);
            if (Group.IdxX == 0)
            {
                int target = a.Targets[n];
                a.LogSums[n] = logSum;
                a.Losses[n] = target == Ignored ? 0 : logSum - a.Logits[(long)n * a.Classes + target];
            }
        }
    }

    // dLogits[n] = (e^(logits[n] − logSum_n) − onehot(target_n)) · dLoss_n, or 0; dLogits may be logits.
    public static void Backward(CrossEntropyArguments a)
    {
        for (long i = Groups.First; i < (long)a.Count * a.Classes; i += Groups.Stride)
        {
            int n = (int)(i / a.Classes), v = (int)(i % a.Classes);
            a.DLogits[i] = a.Targets[n] == Ignored ? 0 : Gradient(a.Logits[i], a.LogSums[n], a.Targets[n] == v, a.DLosses[n]);
        }
    }

    // Both, with gradientScale for each dLoss.
    public static void WithGradient(CrossEntropyArguments a)
    {
        ArrayView<double> shared = SharedMemory.Allocate<double>(Groups.Threads);
        ArrayView<float> maxima = SharedMemory.Allocate<float>(Groups.Threads);
        for (int n = Grid.IdxX; n < a.Count; n += Grid.DimX)
        {
            float logSum = LogSum(a, n, shared, maxima);
            int target = a.Targets[n];
            long row = (long)n * a.Classes;
            if (Group.IdxX == 0)
                a.Losses[n] = target == Ignored ? 0 : logSum - a.Logits[row + target];
            // The target's logit may be written over below.
            Group.Barrier();
            for (int v = Group.IdxX; v < a.Classes; v += Group.DimX)
                a.DLogits[row + v] = target == Ignored ? 0 : Gradient(a.Logits[row + v], logSum, target == v, a.GradientScale);
        }
    }

    // e^d − 1 at the target, without cancellation where d is small.
    private static float Gradient(float logit, float logSum, bool isTarget, float dLoss)
    {
        float difference = logit - logSum;
        if (!isTarget)
            return Functions.Flush(Functions.Exp(difference) * dLoss);
        float less = difference > -0.3f ? ExpMinusOne(difference) : Functions.Exp(difference) - 1;
        return Functions.Flush(less * dLoss);
    }

    // By its series, for −0.3 < x ≤ 0 (and a rounding above).
    private static float ExpMinusOne(float x) =>
        x * (1 + x * (0.5f + x * (0.16666667f + x * (0.041666667f + x * (0.0083333333f + x * 0.0013888889f)))));

    private static float LogSum(CrossEntropyArguments a, int n, ArrayView<double> shared, ArrayView<float> maxima)
    {
        long row = (long)n * a.Classes;
        float maximum = float.NegativeInfinity;
        for (int v = Group.IdxX; v < a.Classes; v += Group.DimX)
            maximum = Functions.Larger(maximum, a.Logits[row + v]);
        maximum = Groups.Max(maxima, maximum);

        double sum = 0;
        for (int v = Group.IdxX; v < a.Classes; v += Group.DimX)
            sum += Functions.Exp(a.Logits[row + v] - maximum);
        sum = Groups.Sum(shared, sum);

        // One infinite logit outweighs all, NaN spoils all, and all −∞ sum to nothing.
        return Functions.IsFinite(maximum) ? maximum + Functions.LogFromOne((float)sum) : maximum;
    }
}
