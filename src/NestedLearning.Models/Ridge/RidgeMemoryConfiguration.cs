namespace NestedLearning.Models;

/// <summary>What a recursive ridge memory is: its width, and what it forgets.</summary>
public sealed record RidgeMemoryConfiguration
{
    /// <summary>D: features of a key, 1 to <see cref="RidgeState.MaxFeatures"/>. The memory has 4 D² bytes.</summary>
    public int Features { get; init; } = 256;

    /// <summary>δ, what W is held to zero by: from 1e-30 to 1e30.</summary>
    public double Regularizer { get; init; } = 1;

    /// <summary>λ, what is left of a sample's weight at the next: above 0 and at most 1. With 1 nothing is forgotten.</summary>
    public double Forget { get; init; } = 1;

    /// <summary>Checks every setting.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range; the message names it.</exception>
    public void Validate()
    {
        if (Features is < 1 or > RidgeState.MaxFeatures)
            throw new ArgumentException($"{nameof(Features)} is {Features}, expected 1 to {RidgeState.MaxFeatures}.");
        if (!(Regularizer is >= RidgeState.LeastRegularizer and <= RidgeState.MostRegularizer))
            throw new ArgumentException(Readable.Text(
                $"{nameof(Regularizer)} is {Regularizer}, expected {RidgeState.LeastRegularizer} to {RidgeState.MostRegularizer}."));
        if (!(Forget is > 0 and <= 1 && float.IsNormal((float)Forget)))
            throw new ArgumentException(
                Readable.Text($"{nameof(Forget)} is {Forget}, expected a number above 0, not subnormal in float32, and at most 1."));
    }
}
