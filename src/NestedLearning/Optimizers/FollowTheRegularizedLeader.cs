namespace NestedLearning.Optimizers;

/// <summary>
/// Gradient descent in its other form, as a memory of all gradients (NL 1–3): with Z the sum of the gradients seen, each times
/// its learning rate,
/// <code>
/// Z ← Z + η g;  W ← argmin ⟨Z, W⟩ + ½ ‖W − W₀‖² = W₀ − Z
/// </code>
/// Its W are gradient descent's, to rounding. W₀ is what the parameter was at the first commit.
/// </summary>
public sealed class FollowTheRegularizedLeader : ElementwiseOptimizer
{
    /// <inheritdoc/>
    public override string Rule => "Follow the regularized leader: Z ← Z + η g, W ← argmin ⟨Z, W⟩ + ½‖W − W₀‖² = W₀ − Z";

    private protected override string FirstMoment => "z";

    private protected override bool KeepsStart => true;

    private protected override MomentSettings Commit(float learningRate, bool decays) =>
        new() { LearningRate = 1, Keep1 = 1, Write1 = learningRate, ReadMoment = 1, ReadGradient = 0 };
}
