using ILGPU;
using ILGPU.Runtime;
using NestedLearning.Operations;

namespace NestedLearning.Gpu.Kernels;

/// <summary>A group of n samples of a ridge memory; numbers in float64 but for keys and W.</summary>
internal struct RidgeArguments
{
    /// <summary>[n, D] and [D, V].</summary>
    public ArrayView<float> X, W, WLow;

    /// <summary>d [Padded], then L's rows in panels.</summary>
    public ArrayView<double> Factor;

    /// <summary>F and O to the host: f [D, n], then x W [n, V].</summary>
    public ArrayView<double> Read;

    /// <summary>From the host: c, then v [D, Group], then errors [Group, V].</summary>
    public ArrayView<double> Plan;

    public int Features, Padded, Outputs, Samples;
}

/// <summary>
/// The two passes over the rows of L; what stands between them is done on the host (<see cref="RidgePlan"/>). Reading is a group of
/// threads a row, writing a work item a column, which goes down its rows one after the other.
/// </summary>
internal static class RidgeKernels
{
    // f_j = L_j x_s
    public static void ReadRows(RidgeArguments a)
    {
        ArrayView<double> shared = SharedMemory.Allocate<double>(Groups.Threads);
        for (int j = Grid.IdxX; j < a.Features; j += Grid.DimX)
        {
            long row = Row(a, j);
            for (int s = 0; s < a.Samples; s++)
            {
                double sum = 0;
                for (int i = Group.IdxX; i <= j; i += Group.DimX)
                    sum += a.Factor[row + i] * Functions.Flush(a.X[(long)s * a.Features + i]);
                sum = Groups.Sum(shared, sum);
                if (Group.IdxX == 0)
                    a.Read[(long)j * a.Samples + s] = sum;
            }
        }
    }

    // x_s W, an item for each sample and output
    public static void ReadOutputs(RidgeArguments a)
    {
        long first = (long)a.Features * a.Samples;
        for (long n = Groups.First; n < (long)a.Samples * a.Outputs; n += Groups.Stride)
        {
            long s = n / a.Outputs, k = n % a.Outputs;
            double sum = 0;
            for (int i = 0; i < a.Features; i++)
            {
                long at = (long)i * a.Outputs + k;
                sum += Functions.Flush(a.X[s * a.Features + i]) * ((double)a.W[at] + a.WLow[at]);
            }

            a.Read[first + n] = sum;
        }
    }

    // For each row j:  L_j ← L_j − c_j K,  K ← K + v_j L_j (before);  then W ← W + K e. Samples that a group lacks have c and v of zero.
    public static void Write(RidgeArguments a)
    {
        long writes = (long)a.Features * RidgeLayout.Group;
        for (long n = Groups.First; n < a.Features; n += Groups.Stride)
        {
            double k0 = 0, k1 = 0, k2 = 0, k3 = 0, k4 = 0, k5 = 0, k6 = 0, k7 = 0;
            int i = (int)n;
            for (int j = i; j < a.Features; j++)
            {
                long at = Row(a, j) + i, c = (long)j * RidgeLayout.Group, v = writes + c;
                double element = a.Factor[at];
                Step(a, c, v, ref element, ref k0);
                Step(a, c + 1, v + 1, ref element, ref k1);
                Step(a, c + 2, v + 2, ref element, ref k2);
                Step(a, c + 3, v + 3, ref element, ref k3);
                Step(a, c + 4, v + 4, ref element, ref k4);
                Step(a, c + 5, v + 5, ref element, ref k5);
                Step(a, c + 6, v + 6, ref element, ref k6);
                Step(a, c + 7, v + 7, ref element, ref k7);
                a.Factor[at] = element;
            }

            long errors = 2 * writes;
            for (int k = 0; k < a.Outputs; k++)
            {
                long at = (long)i * a.Outputs + k, e = errors + k;
                double sum = (double)a.W[at] + a.WLow[at];
                sum += k0 * a.Plan[e] + k1 * a.Plan[e + a.Outputs] + k2 * a.Plan[e + 2L * a.Outputs] + k3 * a.Plan[e + 3L * a.Outputs];
                sum += k4 * a.Plan[e + 4L * a.Outputs] + k5 * a.Plan[e + 5L * a.Outputs] + k6 * a.Plan[e + 6L * a.Outputs]
                    + k7 * a.Plan[e + 7L * a.Outputs];
                float high = Functions.Flush((float)sum);
                a.W[at] = high;
                a.WLow[at] = Functions.Flush((float)(sum - high));
            }
        }
    }

    private static void Step(RidgeArguments a, long c, long v, ref double element, ref double gain)
    {
        double before = element;
        element -= a.Plan[c] * gain;
        gain += a.Plan[v] * before;
    }

    // As RidgeLayout.Row, behind d.
    private static long Row(RidgeArguments a, int j)
    {
        const int Panel = RidgeLayout.Panel;
        long panel = j / Panel;
        return a.Padded + Panel * Panel * panel * (panel + 1) / 2 + j % Panel * Panel * (panel + 1);
    }
}
