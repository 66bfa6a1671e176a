namespace NestedLearning.Operations;

/// <summary>How Adam's moments m and v are stored.</summary>
public enum MomentPrecision
{
    /// <summary>As float32, in tensors of the weight's shape.</summary>
    Float32 = Native.Moments.Float32,

    /// <summary>
    /// As bfloat16, two to each element of a tensor [⌈count / 2⌉], see <see cref="BFloat16"/>. A step rounds them
    /// stochastically: up with the probability that makes the mean right, so that changes smaller than their spacing
    /// of 2⁻⁸ add up.
    /// </summary>
    BFloat16 = Native.Moments.BFloat16,
}

/// <summary>One step of Adam's memory of gradients, fused with what stands around it.</summary>
/// <param name="LearningRate">η.</param>
/// <param name="Beta1">Decay of the first moment. Double, as 1 − β of a float32 β is off in its fifth digit.</param>
/// <param name="Beta2">Decay of the second moment.</param>
/// <param name="Epsilon">Added to √v̂.</param>
/// <param name="WeightDecay">λ.</param>
/// <param name="Decoupled">True: AdamW, w ← w − ηλw. False: Adam with L2, g ← g + λw.</param>
/// <param name="Step">The number of this step, from 1, for the bias correction.</param>
/// <param name="GradientScale">Multiplies g first: a mean over a chunk, or clipping.</param>
public readonly record struct AdamSettings(float LearningRate, double Beta1, double Beta2, float Epsilon, float WeightDecay, bool Decoupled,
    long Step, float GradientScale) : ICommitSettings
{
    /// <summary>Whether g becomes 0 in the same pass; else it is left as it is.</summary>
    public bool ClearGradient { get; init; }

    /// <summary>
    /// Whether the caller has seen to it that ‖g‖, times the scale, is at most 2⁵⁰, so that moments stay finite: then g is not read to find
    /// that out. <see cref="LevelSystem"/> knows it from the norm that it measures for clipping.
    /// </summary>
    public bool GradientIsBounded { get; init; }

    /// <summary>How m and v are stored.</summary>
    public MomentPrecision Moments { get; init; }

    /// <summary>
    /// With <see cref="MomentPrecision.BFloat16"/>, where the rounding takes its random numbers:
    /// <see cref="CounterRandom"/> of this seed, the step as its stream, counted by the position in the tensor. Give each
    /// tensor its own.
    /// </summary>
    public ulong Seed { get; init; }
}

/// <summary>What one step of Adam works on.</summary>
/// <param name="W">The weight, in and out.</param>
/// <param name="G">Its gradient, of the same shape.</param>
/// <param name="M">The first moment, in and out: of the same shape, or as <see cref="MomentPrecision.BFloat16"/> says.</param>
/// <param name="V">The second moment, likewise.</param>
/// <param name="Decays">Whether the settings' weight decay applies.</param>
public readonly record struct AdamTensors(Tensor W, Tensor G, Tensor M, Tensor V, bool Decays = true) : ICommitTensors;

/// <summary>What a commit did to a tensor, as sums of squares over its elements, accumulated in double.</summary>
/// <param name="Change">‖θ_new − θ_old‖².</param>
/// <param name="Value">‖θ_old‖².</param>
public readonly record struct CommitChange(double Change, double Value);
