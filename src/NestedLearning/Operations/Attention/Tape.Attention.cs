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
        Variable[] given = [q, k, v];
        AttentionInputs inputs = AttentionTensors.Inputs.Of<Variable?>(given, s_value);
        OperationCall call = AttentionTensors.Validate(inputs, settings);
        Variable o = Results(AttentionTensors.Outputs, call, Needs(given))[0]!;
        AttentionOutputs saved = o.NeedsGradient ? AttentionTensors.Saved.Make(call, New) : default;
        AttentionOutputs outputs = saved with { O = o.Value };
        Operations.Attention.Forward(inputs, settings, outputs);
        if (o.NeedsGradient)
        {
            Record(
                () => WriteGradients(AttentionTensors.Inputs, given, gradients => Operations.Attention.Backward(
                    inputs, settings, outputs, o.Gradient!, gradients)),
                o);
        }

        return o;
    }
}
