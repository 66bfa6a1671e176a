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
        NestedLearning.Attention.Forward(inputs, settings, outputs);
        if (o.NeedsGradient)
        {
            Record(
                () =>
                {
                    using WrittenGradient dq = Written(q), dk = Written(k), dv = Written(v);
                    NestedLearning.Attention.Backward(inputs, settings, outputs, o.Gradient!, new AttentionGradients { Q = dq.Place, K = dk.Place, V = dv.Place });
                },
                o);
        }

        return o;
    }

    /// <summary>
    /// x [B, T, H, D] turned by rotary position embedding; the table [T, 2 ⌊D/2⌋] holds each token's cosines, then sines, and has
    /// no gradient. See <see cref="Dense.Rotate"/>.
    /// </summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public Variable Rotate(Variable x, Tensor table)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(table);
        var y = new Variable(New(x.Shape), Needs(x));
        Dense.Rotate(x.Value, table, back: false, y.Value);
        if (y.NeedsGradient)
        {
            Record(
                () =>
                {
                    using WrittenGradient dx = Written(x);
                    Dense.Rotate(y.Gradient!, table, back: true, dx.Place!);
                },
                y);
        }

        return y;
    }

    /// <summary>
    /// The loss of each row in nats of the logits x Wᵀ, which are never whole in memory: x [.., D], weight [V, D], one target
    /// a row (−1: none), result of the targets' shape. The backward pass computes the logits again; see
    /// <see cref="NestedLearning.LinearCrossEntropy"/>.
    /// </summary>
    /// <exception cref="ArgumentException">The shapes do not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is neither a class nor −1.</exception>
    public Variable LinearCrossEntropy(Variable x, Variable weight, IndexTensor targets)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(weight);
        ArgumentNullException.ThrowIfNull(targets);
        var losses = new Variable(New(targets.Shape), Needs(x, weight));
        Tensor logSums = New(targets.Shape);
        NestedLearning.LinearCrossEntropy.Forward(x.Value, weight.Value, targets, losses.Value, logSums);
        if (losses.NeedsGradient)
        {
            Record(
                () =>
                {
                    using WrittenGradient dx = Written(x);
                    NestedLearning.LinearCrossEntropy.Backward(x.Value, weight.Value, targets, logSums, losses.Gradient!, dx.Place, Added(weight));
                },
                losses);
        }

        return losses;
    }
}
