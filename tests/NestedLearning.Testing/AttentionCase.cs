namespace NestedLearning.Testing;

/// <summary>Inputs of causal attention in double, whose values are float32's.</summary>
public sealed class AttentionCase
{
    private AttentionCase(int[] shape, float scale)
    {
        (Batch, Time, Keys, Heads, KeyDim, ValueDim) = (shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]);
        Scale = scale;
        Q = K = V = DOutput = [];
    }

    public int Batch { get; }

    public int Time { get; }

    public int Keys { get; }

    public int Heads { get; }

    public int KeyDim { get; }

    public int ValueDim { get; }

    public float Scale { get; }

    public double[] Q { get; private init; }

    public double[] K { get; private init; }

    public double[] V { get; private init; }

    public double[] DOutput { get; private init; }

    public Shape QShape => [Batch, Time, Heads, KeyDim];

    public Shape KShape => [Batch, Keys, Heads, KeyDim];

    public Shape VShape => [Batch, Keys, Heads, ValueDim];

    public Shape OShape => [Batch, Time, Heads, ValueDim];

    public Shape SumShape => [Batch, Time, Heads];

    /// <summary>Normal numbers; shape is [B, T, S, H, Dk, Dv].</summary>
    public static AttentionCase Create(ulong seed, ReadOnlySpan<int> shape, float scale = 0.4f, float deviation = 1)
    {
        var data = new TestData(seed);
        var c = new AttentionCase(shape.ToArray(), scale);
        return new AttentionCase(shape.ToArray(), scale)
        {
            Q = Compare.ToDouble(data.Normal(c.QShape, deviation)),
            K = Compare.ToDouble(data.Normal(c.KShape, deviation)),
            V = Compare.ToDouble(data.Normal(c.VShape)),
            DOutput = Compare.ToDouble(data.Normal(c.OShape)),
        };
    }
}
