namespace NestedLearning.Operations;

/// <summary>What a commit of moments works on in host memory.</summary>
internal readonly unsafe struct MomentOperands(MomentTensors tensors, MomentSettings settings) : ICommitOperands
{
    public readonly float* W = Pointer(tensors.W);
    public readonly float* G = tensors.G.Pointer;
    public readonly float* M = Pointer(tensors.M);
    public readonly float* V = Pointer(tensors.V);

    /// <summary>W where none is given.</summary>
    public readonly float* Start = Pointer(tensors.Start ?? tensors.W);

    public readonly MomentSettings Settings = settings;

    /// <inheritdoc/>
    public int Count { get; } = tensors.G.Count;

    /// <inheritdoc/>
    public long Cost => 4;

    /// <summary>Those of many tensors.</summary>
    public static MomentOperands[] All(ReadOnlySpan<MomentTensors> tensors, ReadOnlySpan<MomentSettings> settings)
    {
        var operands = new MomentOperands[tensors.Length];
        for (int i = 0; i < operands.Length; i++)
            operands[i] = new MomentOperands(tensors[i], settings[i]);
        return operands;
    }

    private static float* Pointer(Tensor? tensor) => tensor is null ? null : tensor.Pointer;
}
