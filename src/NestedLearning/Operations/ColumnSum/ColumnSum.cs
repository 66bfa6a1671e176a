namespace NestedLearning.Operations;

/// <summary>Sums over rows: the gradient of a bias. Arguments are checked before anything is written.</summary>
public static class ColumnSum
{
    /// <summary>sums [N] += Σ over rows of x [M, N].</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void Add(Tensor x, Tensor sums)
    {
        Require.Given(x, sums);
        Require.SameShape(sums, [x.Shape.Last]);
        using Held held = Held.All(x, sums);
        x.Device.Backend.ColumnSum(x, sums);
    }
}
