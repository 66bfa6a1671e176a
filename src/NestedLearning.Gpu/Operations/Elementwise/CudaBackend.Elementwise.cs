using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

internal sealed unsafe partial class CudaBackend
{
    public override void Fill(Tensor tensor, float value)
    {
        if (CanRun(ElementwiseKernels.File, out string? reason))
            Launch(ElementwiseKernels.Fill, tensor, factor: value);
        else
        {
            FallBack(reason);
            base.Fill(tensor, value);
        }
    }

    public override void ActivationForward(Activation activation, Tensor x, Tensor y)
    {
        if (CanRun(ElementwiseKernels.File, out string? reason))
            Launch(ElementwiseKernels.ActivationForward, x, y, function: activation);
        else
        {
            FallBack(reason);
            base.ActivationForward(activation, x, y);
        }
    }

    public override void ActivationBackward(Activation activation, Tensor x, Tensor dy, Tensor dx)
    {
        if (CanRun(ElementwiseKernels.File, out string? reason))
            Launch(ElementwiseKernels.ActivationBackward, x, dy, dx, function: activation);
        else
        {
            FallBack(reason);
            base.ActivationBackward(activation, x, dy, dx);
        }
    }

    public override void AddScaled(float factor, Tensor x, Tensor y)
    {
        if (CanRun(ElementwiseKernels.File, out string? reason))
            Launch(ElementwiseKernels.AddScaled, x, y, factor: factor);
        else
        {
            FallBack(reason);
            base.AddScaled(factor, x, y);
        }
    }

    public override void Multiply(Tensor x, Tensor y, Tensor z)
    {
        if (CanRun(ElementwiseKernels.File, out string? reason))
            Launch(ElementwiseKernels.Multiply, x, y, z);
        else
        {
            FallBack(reason);
            base.Multiply(x, y, z);
        }
    }

    public override void Scale(Tensor x, float factor)
    {
        if (CanRun(ElementwiseKernels.File, out string? reason))
            Launch(ElementwiseKernels.Scale, x, factor: factor);
        else
        {
            FallBack(reason);
            base.Scale(x, factor);
        }
    }

    public override void SumsOfSquares(ReadOnlySpan<Tensor> tensors, Span<double> sums)
    {
        // Few enough that their sums are one more block's work.
        const int MaxBlocks = 1024;
        if (!CanRun(ElementwiseKernels.File, out string? reason))
        {
            FallBack(reason);
            base.SumsOfSquares(tensors, sums);
            return;
        }

        sums.Clear();
        if (!Holds(tensors))
            return;
        using var workspace = new Workspace(this);
        // One after the other they take the same memory for their parts.
        DeviceStorage parts = workspace.Take(2 * MaxBlocks), results = workspace.Take(2L * tensors.Length);
        for (int i = 0; i < tensors.Length; i++)
        {
            // On one device by the shape alone.
            int blocks = Math.Min(Blocks(tensors[i].Count, ElementwiseKernels.Threads), MaxBlocks);
            if (blocks == 0)
                continue;
            SumArguments arguments = new()
            {
                X = Pointer(tensors[i]), Parts = (double*)parts.Pointer, Result = (double*)results.Pointer + i, Count = tensors[i].Count,
            };
            Launch(ElementwiseKernels.SumOfSquares, blocks, ElementwiseKernels.Threads, 0, arguments);
            Launch(ElementwiseKernels.SumOfParts, 1, ElementwiseKernels.Threads, 0, arguments with { Count = blocks });
        }

        double[] read = new double[tensors.Length];
        Download(results, MemoryMarshal.Cast<double, float>(read.AsSpan()));
        for (int i = 0; i < tensors.Length; i++)
        {
            // The others' were not written.
            if (tensors[i].Count > 0)
                sums[i] = read[i];
        }

        static bool Holds(ReadOnlySpan<Tensor> tensors)
        {
            foreach (Tensor tensor in tensors)
            {
                if (tensor.Count > 0)
                    return true;
            }

            return false;
        }
    }

    private void Launch(
        CudaKernel<ElementwiseArguments> kernel, Tensor x, Tensor? y = null, Tensor? z = null,
        float factor = 0, Activation function = default) =>
        Launch(kernel, Blocks(x.Count, ElementwiseKernels.Threads), ElementwiseKernels.Threads, 0, new()
        {
            X = Pointer(x),
            Y = Pointer(y),
            Z = Pointer(z),
            Count = x.Count,
            Factor = factor,
            Function = (int)function,
        });
}
