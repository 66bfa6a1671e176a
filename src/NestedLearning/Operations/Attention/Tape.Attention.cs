namespace NestedLearning;

public sealed partial class Tape
{
    /// <summary>
    /// Causal softmax attention: q [B, T, H, Dk], k [B, S, H, Dk], v [B, S, H, Dv], S ≥ T; the result is [B, T, H, Dv]. See
    /// <see cref="AttentionInputs"/>.
    /// </summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public Variable Attention(Variable q, Variable k, Variable v, AttentionSettings settings)
    {
        ArgumentNullException.ThrowIfNull(q);
        ArgumentNullException.ThrowIfNull(k);
        ArgumentNullException.ThrowIfNull(v);
        Require.Rank(q.Value, 4, "[B, T, H, Dk]", "q");
        var inputs = new AttentionInputs { Q = q.Value, K = k.Value, V = v.Value };
        var o = new Variable(New(q.Shape.WithLast(v.Shape.Last)), Needs(q, k, v));
        var outputs = new AttentionOutputs { O = o.Value, LogSums = o.NeedsGradient ? New([inputs.Batch, inputs.Time, inputs.Heads]) : null };
        Operations.Attention.Forward(inputs, settings, outputs);
        if (o.NeedsGradient)
        {
            Record(
                () =>
                {
                    using WrittenGradient dq = Written(q), dk = Written(k), dv = Written(v);
                    Operations.Attention.Backward(inputs, settings, outputs, o.Gradient!, new AttentionGradients { Q = dq.Place, K = dk.Place, V = dv.Place });
                },
                o);
        }

        return o;
    }
}
