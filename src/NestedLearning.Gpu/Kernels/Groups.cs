using System.Numerics;
using ILGPU;

namespace NestedLearning.Gpu.Kernels;

/// <summary>
/// How kernels share out work. A launch may have fewer groups than there is work and groups may have fewer threads than a
/// tile has parts: both are looped over, so any power of two of threads up to <see cref="Threads"/> gives the same result
/// (sums of a group excepted, whose order is that of its threads). Barriers stand under no condition, not even one that is the
/// same for a whole group: PoCL 3.1 takes such code apart wrongly.
/// </summary>
internal static class Groups
{
    /// <summary>The most threads of a group.</summary>
    public const int Threads = 64;

    /// <summary>The first work item of this thread, for loops over items in steps of <see cref="Stride"/>.</summary>
    public static long First => (long)Grid.IdxX * Group.DimX + Group.IdxX;

    public static long Stride => (long)Grid.DimX * Group.DimX;

    /// <summary>The group's sum, for all its threads. Every thread of the group must call it.</summary>
    public static T Sum<T>(ArrayView<T> shared, T value)
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

    /// <summary>The group's maximum, NaN where any is. Every thread of the group must call it.</summary>
    public static float Max(ArrayView<float> shared, float value)
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
}
