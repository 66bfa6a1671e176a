using ILGPU;
using ILGPU.Algorithms;

namespace NestedLearning.Gpu.Kernels;

/// <summary>A commit of <see cref="MomentSettings"/>; a view of no elements stands for a tensor that is not given.</summary>
internal struct MomentArguments
{
    public ArrayView<float> W, G, M, V, Start;

    /// <summary>As in <see cref="AdamArguments"/>.</summary>
    public ArrayView<double> Parts;
    public float LearningRate, GradientScale, Keep1, Write1, Keep2, Write2, ReadMoment, ReadGradient, Decay, Epsilon;
    public int Clear;
}

// g' ← scale g;  m ← keep1 m + write1 g';  v ← keep2 v + write2 g'²;  r ← read m + read g'
// w ← start − (decay start + η r / (√v + ε))
internal static class MomentKernels
{
    public static void Commit(MomentArguments a)
    {
        ArrayView<double> shared = SharedMemory.Allocate<double>(Groups.Threads);
        double change = 0, value = 0;
        for (long i = Groups.First; i < a.G.Length; i += Groups.Stride)
        {
            float gradient = a.G[i] * a.GradientScale, read = gradient * a.ReadGradient;
            if (a.Clear != 0)
                a.G[i] = 0;
            if (a.M.Length != 0)
            {
                float first = a.M[i] * a.Keep1 + gradient * a.Write1;
                a.M[i] = first;
                read = first * a.ReadMoment + read;
            }

            float step = read * a.LearningRate;
            if (a.V.Length != 0)
            {
                float second = a.V[i] * a.Keep2 + gradient * gradient * a.Write2;
                a.V[i] = second;
                step /= XMath.Sqrt(second) + a.Epsilon;
            }

            if (a.W.Length != 0)
            {
                float before = a.W[i], from = a.Start.Length != 0 ? a.Start[i] : before;
                float after = from - (from * a.Decay + step);
                a.W[i] = after;
                change += ((double)after - before) * ((double)after - before);
                value += (double)before * before;
            }
        }

        change = Groups.Sum(shared, change);
        value = Groups.Sum(shared, value);
        if (Group.IdxX == 0 && a.Parts.Length != 0)
        {
            a.Parts[2 * Grid.IdxX] = change;
            a.Parts[2 * Grid.IdxX + 1] = value;
        }
    }
}
