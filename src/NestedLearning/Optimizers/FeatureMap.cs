namespace NestedLearning.Optimizers;

/// <summary>φ, what a memory of gradients takes as its key in place of the gradient itself (NL 51).</summary>
public abstract class FeatureMap
{
    /// <summary>φ(g) = g.</summary>
    public static FeatureMap Identity { get; } = new IdentityMap();

    /// <summary>φ(g) = g/‖g‖ row by row, so that every key has length one (zero rows stay zero).</summary>
    public static FeatureMap UnitRows { get; } = new UnitRowsMap();

    /// <summary>φ(g) = g³ by elements: a feature of higher order that keeps signs.</summary>
    public static FeatureMap Cubic { get; } = new CubicMap();

    /// <summary>The map as an equation's term, such as <c>g³</c>.</summary>
    public abstract string Term { get; }

    /// <summary>The largest norm of g for which squares of φ(g) are well within float32.</summary>
    public virtual double LargestNorm => CommitBound.LargestNorm;

    /// <summary>Writes φ(g) into features, a tensor of the same shape, which may be g.</summary>
    public abstract void Apply(Tensor g, Tensor features);

    private sealed class IdentityMap : FeatureMap
    {
        public override string Term => "g";

        public override void Apply(Tensor g, Tensor features) => features.CopyFrom(g);
    }

    private sealed class UnitRowsMap : FeatureMap
    {
        // Smaller rows than this are not made longer; gradients can be small.
        private const float Epsilon = 1e-20f;

        public override string Term => "g/‖g‖ by rows";

        public override void Apply(Tensor g, Tensor features) => Norm.Forward(NormKind.L2, g, null, null, Epsilon, features);
    }

    private sealed class CubicMap : FeatureMap
    {
        public override string Term => "g³";

        // Its cube is 2⁴⁸.
        public override double LargestNorm => 1 << 16;

        public override void Apply(Tensor g, Tensor features)
        {
            using Tensor squares = g.Device.Empty(g.Shape);
            Elementwise.Multiply(g, g, squares);
            Elementwise.Multiply(squares, g, features);
        }
    }
}
