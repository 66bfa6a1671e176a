using ILGPU;
using ILGPU.Runtime;

namespace NestedLearning.Gpu.Kernels;

/// <summary>Runs of elements of equal length, and a factor or function.</summary>
internal struct ElementwiseArguments
{
    public ArrayView<float> X, Y, Z;
    public float Factor;
    public int Function;
}

/// <summary>Element by element: one work item an element.</summary>
internal static class ElementwiseKernels
{
    // x = factor
    public static void Fill(ElementwiseArguments a)
    {
        for (long i = Groups.First; i < a.X.Length; i += Groups.Stride)
            a.X[i] = a.Factor;
    }

    // y += factor · x
    public static void AddScaled(ElementwiseArguments a)
    {
        for (long i = Groups.First; i < a.X.Length; i += Groups.Stride)
            a.Y[i] = Functions.Flush(a.Y[i] + a.Factor * a.X[i]);
    }

    // z = x ∘ y
    public static void Multiply(ElementwiseArguments a)
    {
        for (long i = Groups.First; i < a.X.Length; i += Groups.Stride)
            a.Z[i] = Functions.Flush(a.X[i] * a.Y[i]);
    }

    // x ← factor · x
    public static void Scale(ElementwiseArguments a)
    {
        for (long i = Groups.First; i < a.X.Length; i += Groups.Stride)
            a.X[i] = Functions.Flush(a.X[i] * a.Factor);
    }

    // y = f(x)
    public static void ActivationForward(ElementwiseArguments a)
    {
        for (long i = Groups.First; i < a.X.Length; i += Groups.Stride)
        {
            float x = a.X[i], y;
            if (a.Function == (int)Activation.Sigmoid)
                y = Functions.Sigmoid(x);
            else if (a.Function == (int)Activation.Softplus)
                y = Functions.Softplus(x);
            else if (a.Function == (int)Activation.LogSigmoid)
                y = -Functions.Softplus(-x);
            else
                y = Functions.Gelu(x);
            a.Y[i] = Functions.Flush(y);
        }
    }

    // z = y ∘ f'(x)
    public static void ActivationBackward(ElementwiseArguments a)
    {
        for (long i = Groups.First; i < a.X.Length; i += Groups.Stride)
        {
            float x = a.X[i], derivative;
            if (a.Function == (int)Activation.Sigmoid)
                derivative = Functions.SigmoidDerivative(x);
            else if (a.Function == (int)Activation.Softplus)
                derivative = Functions.Sigmoid(x);
            else if (a.Function == (int)Activation.LogSigmoid)
                derivative = Functions.Sigmoid(-x);
            else
                derivative = Functions.GeluDerivative(x);
            a.Z[i] = Functions.Flush(a.Y[i] * derivative);
        }
    }
}

/// <summary>Sums of one number or two by groups, in double.</summary>
internal struct SumArguments
{
    public ArrayView<float> X;

    /// <summary>A sum for each group, or interleaved pairs.</summary>
    public ArrayView<double> Parts;

    /// <summary>Which parts belong to each result: the first, and how many.</summary>
    public ArrayView<int> Ranges;

    /// <summary>Where the sums of all parts go.</summary>
    public ArrayView<double> Result;

    /// <summary>The first part of a sum of squares.</summary>
    public int First;
    public int Count, Width;
}

internal static class SumKernels
{
    // parts[first + group] = Σ x² over the group's share of x; ranges is those parts
    public static void Squares(SumArguments a)
    {
        ArrayView<double> shared = SharedMemory.Allocate<double>(Groups.Threads);
        double sum = 0;
        for (long i = Groups.First; i < a.X.Length; i += Groups.Stride)
            sum += (double)a.X[i] * a.X[i];
        sum = Groups.Sum(shared, sum);
        if (Group.IdxX == 0)
            a.Parts[a.First + Grid.IdxX] = sum;
        if (Groups.First == 0)
        {
            a.Ranges[0] = a.First;
            a.Ranges[1] = Grid.DimX;
        }
    }

    // result[r, w] = Σ_i parts[i, w] for i of range r, r < count, w < width; a group a result
    public static void Parts(SumArguments a)
    {
        ArrayView<double> shared = SharedMemory.Allocate<double>(Groups.Threads);
        for (int result = Grid.IdxX; result < a.Count; result += Grid.DimX)
        {
            int first = a.Ranges[2 * result], count = a.Ranges[2 * result + 1];
            for (int w = 0; w < a.Width; w++)
            {
                double sum = 0;
                for (int i = Group.IdxX; i < count; i += Group.DimX)
                    sum += a.Parts[(first + i) * a.Width + w];
                sum = Groups.Sum(shared, sum);
                if (Group.IdxX == 0)
                    a.Result[result * a.Width + w] = sum;
            }
        }
    }
}
