using System.Numerics;
using ILGPU;
using ILGPU.Runtime;

namespace NestedLearning.Gpu.Kernels;

/// <summary>
/// How kernels share out work. A launch may have fewer groups than there is work and groups may have fewer threads than a
/// tile has parts: both are looped over, so any power of two of threads up to <see cref="Threads"/> gives the same result
/// (sums of a group excepted, whose order is fixed by its threads). Barriers stand under no condition, not even one that is the
/// same for a whole group: PoCL 3.1 takes such code apart wrongly. The kind of device, which
/// ILGPU compiles for, is none.
/// </summary>
internal static class Groups
{
    /// <summary>The most threads of a group.</summary>
    public const int Threads = 64;

    // CUDA's; a group there is of whole warps.
    private const int WarpThreads = 32;

    /// <summary>The first work item of this thread, for loops over items in steps of <see cref="Stride"/>.</summary>
    public static long First => (long)Grid.IdxX * Group.DimX + Group.IdxX;

    public static long Stride => (long)Grid.DimX * Group.DimX;

    // Sums and maxima switch over the kind of accelerator: ILGPU puts it in as a constant and compiles one way alone, which it
    // does for no comparison. Its CPU accelerator goes CUDA's way where it has CUDA's warps, for tests.

    /// <summary>The group's sum, for all its threads. Every thread of the group must call it.</summary>
    public static T Sum<T>(ArrayView<T> shared, T value)
        where T : unmanaged, IAdditionOperators<T, T, T>
    {
        switch (Accelerator.CurrentType)
        {
            case AcceleratorType.Cuda:
                return SumOfWarps(shared, value);
            case AcceleratorType.CPU:
                return Warp.WarpSize == WarpThreads ? SumOfWarps(shared, value) : SumOfHalves(shared, value);
            case AcceleratorType.OpenCL:
            default:
                return SumOfHalves(shared, value);
        }
    }

    /// <summary>The group's maximum, NaN where any is. Every thread of the group must call it.</summary>
    public static float Max(ArrayView<float> shared, float value)
    {
        switch (Accelerator.CurrentType)
        {
            case AcceleratorType.Cuda:
                return MaxOfWarps(shared, value);
            case AcceleratorType.CPU:
                return Warp.WarpSize == WarpThreads ? MaxOfWarps(shared, value) : MaxOfHalves(shared, value);
            case AcceleratorType.OpenCL:
            default:
                return MaxOfHalves(shared, value);
        }
    }

    private static T SumOfHalves<T>(ArrayView<T> shared, T value)
        where T : unmanaged, IAdditionOperators<T, T, T>
    {
        Group.Barrier();
        shared[Group.IdxX] = value;
        Group.Barrier();
        for (int half = Group.DimX / 2; half > 0; half /= 2)
        {
            if (Group.IdxX < half)
                shared[Group.IdxX] += shared[Group.IdxX + half];
            Group.Barrier();
        }

        return shared[0];
    }

    private static float MaxOfHalves(ArrayView<float> shared, float value)
    {
        Group.Barrier();
        shared[Group.IdxX] = value;
        Group.Barrier();
        for (int half = Group.DimX / 2; half > 0; half /= 2)
        {
            if (Group.IdxX < half)
                shared[Group.IdxX] = Functions.Larger(shared[Group.IdxX], shared[Group.IdxX + half]);
            Group.Barrier();
        }

        return shared[0];
    }

    // A warp's sum by shuffles, then those of the warps in their order.
    private static T SumOfWarps<T>(ArrayView<T> shared, T value)
        where T : unmanaged, IAdditionOperators<T, T, T>
    {
        for (int mask = WarpThreads / 2; mask > 0; mask /= 2)
            value += Warp.ShuffleXor(value, mask);
        Group.Barrier();
        if (Group.IdxX % WarpThreads == 0)
            shared[Group.IdxX / WarpThreads] = value;
        Group.Barrier();
        T sum = shared[0];
        for (int warp = 1; warp < Group.DimX / WarpThreads; warp++)
            sum += shared[warp];
        return sum;
    }

    private static float MaxOfWarps(ArrayView<float> shared, float value)
    {
        for (int mask = WarpThreads / 2; mask > 0; mask /= 2)
            value = Functions.Larger(value, Warp.ShuffleXor(value, mask));
        Group.Barrier();
        if (Group.IdxX % WarpThreads == 0)
            shared[Group.IdxX / WarpThreads] = value;
        Group.Barrier();
        float maximum = shared[0];
        for (int warp = 1; warp < Group.DimX / WarpThreads; warp++)
            maximum = Functions.Larger(maximum, shared[warp]);
        return maximum;
    }
}
