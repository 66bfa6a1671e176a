namespace NestedLearning.Operations;

/// <summary>
/// What one commit of an elementwise memory of gradients computes, with g' = <see cref="GradientScale"/> · g:
/// <code>
/// m ← Keep1 m + Write1 g';  v ← Keep2 v + Write2 g'²
/// r = ReadMoment m + ReadGradient g'
/// w ← start − (Decay start + LearningRate r / (√v + Epsilon))
/// </code>
/// Without m it counts as 0, without v nothing is divided, without w only m and v are written, and without start w itself
/// is where it starts from.
/// </summary>
public readonly record struct MomentSettings : ICommitSettings
{
    /// <summary>Writes and reads nothing but the gradient: w ← w − LearningRate g.</summary>
    public MomentSettings()
    {
    }

    /// <summary>η.</summary>
    public float LearningRate { get; init; }

    /// <summary>Multiplies g first: a mean over a chunk, or clipping.</summary>
    public float GradientScale { get; init; } = 1;

    /// <summary>What of the first moment is kept.</summary>
    public float Keep1 { get; init; }

    /// <summary>What of g' is written into the first moment.</summary>
    public float Write1 { get; init; }

    /// <summary>What of the second moment is kept.</summary>
    public float Keep2 { get; init; }

    /// <summary>What of g'² is written into the second moment.</summary>
    public float Write2 { get; init; }

    /// <summary>What of the first moment is read.</summary>
    public float ReadMoment { get; init; }

    /// <summary>What of g' is read beside it.</summary>
    public float ReadGradient { get; init; } = 1;

    /// <summary>The part of its start that w loses: ηλ of a decoupled weight decay.</summary>
    public float Decay { get; init; }

    /// <summary>Added to √v; above 0 where there is v.</summary>
    public float Epsilon { get; init; }

    /// <summary>
    /// Whether the caller has seen to it that ‖g‖, times the scale, is at most 2⁵⁰, so that moments stay finite: then g is not read to find
    /// that out. <see cref="LevelSystem"/> knows it from the norm that it measures for clipping.
    /// </summary>
    public bool GradientIsBounded { get; init; }

    /// <summary>Whether g becomes 0 in the same pass; else it is left as it is.</summary>
    public bool ClearGradient { get; init; }
}

/// <summary>What such a commit works on; all have the gradient's shape.</summary>
/// <param name="W">The weight, in and out; null writes the memories alone.</param>
/// <param name="G">Its gradient.</param>
/// <param name="M">The first moment, in and out, or null.</param>
/// <param name="V">The second moment, in and out, or null.</param>
/// <param name="Start">Where w starts from, or null for w itself.</param>
public readonly record struct MomentTensors(Tensor? W, Tensor G, Tensor? M = null, Tensor? V = null, Tensor? Start = null) : ICommitTensors;
