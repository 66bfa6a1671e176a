namespace NestedLearning;

/// <summary>The results of a recorded self-modifying scan.</summary>
/// <param name="O">Reads [B, T, H, D].</param>
/// <param name="S">The final memories [B, H, D, 3D + 2].</param>
/// <param name="ChunkStart">S_c of the chunk that the next token belongs to; where no gradient is recorded and the chunk goes on, the one
/// that was given.</param>
public sealed record SelfModifyingResults(Variable O, Variable S, Variable ChunkStart);

public sealed partial class Tape
{
    /// <summary>
    /// The self-modifying scan of docs/specification.md, section 6; see <see cref="SelfModifyingInputs"/>. chunkStart is given exactly when
    /// the settings' phase is not 0.
    /// </summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public SelfModifyingResults SelfModifying(Variable x, Variable q, Variable s0, SelfModifyingSettings settings,
        Variable? chunkStart = null)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(q);
        ArgumentNullException.ThrowIfNull(s0);
        Variable?[] given = [x, q, s0, chunkStart];
        SelfModifyingInputs inputs = SelfModifyingTensors.Inputs.Of<Variable?>(given, s_value);
        OperationCall call = SelfModifyingTensors.Validate(inputs, settings);
        bool needs = Needs(given);
        Tensor? states = needs ? SelfModifyingTensors.Saved.Make(call, New) : null;
        // While a chunk goes on its start stays: token by token, a copy would be a third of what is moved.
        bool goesOn = !needs && chunkStart is not null && settings.Phase + inputs.Time < settings.Chunk;
        Variable?[] results = Results(SelfModifyingTensors.Outputs, call, needs, optional: !goesOn);
        Operations.SelfModifying.Forward(
            inputs, settings, SelfModifyingTensors.Outputs.Of<Variable?>(results, s_value) with { ChunkStates = states });
        Variable o = results[0]!;
        if (needs)
        {
            Record(
                () =>
                {
                    using Tensor? zero = o.Gradient is null ? Device.Zeros(o.Shape) : null;
                    SelfModifyingOutputGradients upstream = SelfModifyingTensors.Outputs.Gradients.Of<Variable?>(results, s_gradient);
                    upstream = upstream with { O = upstream.O ?? zero! };
                    WriteGradients(SelfModifyingTensors.Inputs, given, gradients => Operations.SelfModifying.Backward(
                        inputs, settings, states!, upstream, gradients));
                },
                [.. results.OfType<Variable>()]);
        }

        return new SelfModifyingResults(o, results[1]!, results[2] ?? chunkStart!);
    }
}
