using ILGPU;

namespace NestedLearning.Gpu.Kernels;

/// <summary>x and y [B, T, H, D], and the table [T, 2 ⌊D/2⌋] of cosines and sines.</summary>
internal struct RotationArguments
{
    public ArrayView<float> X, Table, Y;
    public int Time, Heads, Width;

    /// <summary>−1 turns back.</summary>
    public float Sign;
}

/// <summary>Rotary position embedding: one work item a pair of elements, or the odd last one.</summary>
internal static class RotationKernels
{
    public static void Rotate(RotationArguments a)
    {
        int half = a.Width / 2, items = (a.Width + 1) / 2;
        long rows = a.X.Length / a.Width;
        for (long n = Groups.First; n < rows * items; n += Groups.Stride)
        {
            long row = n / items, first = row * a.Width;
            int i = (int)(n % items);
            if (i == half)
            {
                a.Y[first + a.Width - 1] = a.X[first + a.Width - 1];
            }
            else
            {
                long angle = row / a.Heads % a.Time * 2 * half + i;
                float c = a.Table[angle], s = a.Sign * a.Table[angle + half];
                float x = a.X[first + i], z = a.X[first + half + i];
                a.Y[first + i] = Functions.Flush(x * c - z * s);
                a.Y[first + half + i] = Functions.Flush(z * c + x * s);
            }
        }
    }
}
