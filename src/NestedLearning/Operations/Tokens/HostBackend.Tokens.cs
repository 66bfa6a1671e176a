using System.Numerics.Tensors;

namespace NestedLearning;

public abstract partial class HostBackend
{
    /// <inheritdoc/>
    public override void CopyTokens(Tensor source, int sourceFirst, Tensor destination, int destinationFirst, int count, bool accumulate)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(destination);
        int batch = source.Shape[0];
        if (batch == 0 || count == 0)
            return;
        int width = destination.Count / (batch * destination.Shape[1]);
        for (int b = 0; b < batch; b++)
        {
            ReadOnlySpan<float> from = source.Span.Slice((b * source.Shape[1] + sourceFirst) * width, count * width);
            Span<float> to = destination.Span.Slice((b * destination.Shape[1] + destinationFirst) * width, count * width);
            if (!accumulate)
            {
                from.CopyTo(to);
                continue;
            }

            TensorPrimitives.Add(to, from, to);
            Subnormals.Flush(to);
        }
    }
}
