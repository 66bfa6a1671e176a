namespace NestedLearning.Operations;

/// <summary>The norm of many tensors together, and clipping by it. Arguments are checked before anything is written.</summary>
public static class GlobalNorm
{
    /// <summary>√Σ‖xᵢ‖² over tensors, accumulated in double. A GPU is waited for once, however many they are.</summary>
    public static double Of(params ReadOnlySpan<Tensor> tensors) => Math.Sqrt(Squared(tensors));

    /// <summary>
    /// Scales tensors so that their global norm is at most <paramref name="limit"/>, and returns the norm from before.
    /// A norm that is not finite scales nothing.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The limit is not above 0.</exception>
    public static double Clip(double limit, params ReadOnlySpan<Tensor> tensors)
    {
        if (!(limit > 0))
            throw new ArgumentOutOfRangeException(nameof(limit), limit, $"The limit is {limit}, expected above 0.");
        double norm = Of(tensors);
        if (double.IsFinite(norm) && norm > limit)
        {
            using Held held = Held.All(tensors);
            foreach (Tensor tensor in tensors)
                tensor.Device.Backend.Scale(tensor, (float)(limit / norm));
        }

        return norm;
    }

    /// <summary>Σ‖xᵢ‖² over tensors, each in double and their sums in order.</summary>
    internal static double Squared(ReadOnlySpan<Tensor> tensors)
    {
        double[] squares = new double[tensors.Length];
        // Tensors that follow each other and are on one device go there together.
        for (int first = 0, end; first < tensors.Length; first = end)
        {
            Device device = tensors[first].Device;
            end = first + 1;
            while (end < tensors.Length && tensors[end].Device == device)
                end++;
            using Held held = Held.All(tensors[first..end]);
            device.Backend.SumsOfSquares(tensors[first..end], squares.AsSpan(first..end));
        }

        double sum = 0;
        foreach (double square in squares)
            sum += square;
        return sum;
    }

    /// <summary>
    /// x ← length · x/norm, which does not depend on x's scale: in two steps where the factor is no float32. Norms below the least normal
    /// number are those of zeros.
    /// </summary>
    internal static void Normalize(Tensor x, double norm, double length)
    {
        const double Step = 1L << 40, LeastNormal = 1.1754943508222875e-38;
        double factor = norm >= LeastNormal ? length / norm : 0;
        double first = Math.Abs(factor) > Step ? Step : factor != 0 && Math.Abs(factor) < 1 / Step ? 1 / Step : 1;
        if (first != 1)
            x.Device.Backend.Scale(x, (float)first);
        x.Device.Backend.Scale(x, (float)(factor / first));
    }
}
