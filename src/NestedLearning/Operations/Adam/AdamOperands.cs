namespace NestedLearning.Operations;

/// <summary>What Adam's step works on in host memory, with the step's constants.</summary>
internal readonly unsafe struct AdamOperands : ICommitOperands
{
    /// <summary>Rounding to bfloat16 is the most of it.</summary>
    private const long Float32Cost = 4, BFloat16Cost = 12;

    public AdamOperands(Tensor w, Tensor? g, Tensor m, Tensor v, in AdamSettings settings)
    {
        W = w.Pointer;
        G = g is null ? null : g.Pointer;
        M = m.Pointer;
        V = v.Pointer;
        Count = w.Count;
        Settings = settings;
        Correction1 = 1 - Math.Pow(settings.Beta1, settings.Step);
        Correction2 = 1 - Math.Pow(settings.Beta2, settings.Step);
    }

    /// <summary>Those of many tensors.</summary>
    public static AdamOperands[] All(ReadOnlySpan<AdamTensors> tensors, ReadOnlySpan<AdamSettings> settings)
    {
        var operands = new AdamOperands[tensors.Length];
        for (int i = 0; i < operands.Length; i++)
            operands[i] = new AdamOperands(tensors[i].W, tensors[i].G, tensors[i].M, tensors[i].V, settings[i]);
        return operands;
    }

    public readonly float* W;

    /// <summary>Null where a product gives the gradient.</summary>
    public readonly float* G;

    public readonly float* M;
    public readonly float* V;
    public readonly AdamSettings Settings;
    public readonly double Correction1;
    public readonly double Correction2;

    /// <inheritdoc/>
    public int Count { get; }

    /// <inheritdoc/>
    public long Cost => Settings.Moments == MomentPrecision.BFloat16 ? BFloat16Cost : Float32Cost;
}
