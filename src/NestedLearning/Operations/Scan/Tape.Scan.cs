namespace NestedLearning;

/// <summary>The inputs of a recorded scan; see <see cref="ScanInputs"/> for shapes and meanings.</summary>
/// <param name="Q">Queries.</param>
/// <param name="K">Keys.</param>
/// <param name="U">Writes or targets.</param>
/// <param name="LogAlpha">log α.</param>
/// <param name="Erase">ε.</param>
/// <param name="Mu">μ.</param>
/// <param name="Theta">θ.</param>
/// <param name="S0">The memory before the first token.</param>
/// <param name="P0">The momentum memory before the first token.</param>
/// <param name="ChunkStart">S_c of the first chunk, exactly when the phase is not 0.</param>
public sealed record ScanVariables(
    Variable Q, Variable K, Variable U, Variable? LogAlpha = null, Variable? Erase = null, Variable? Mu = null, Variable? Theta = null,
    Variable? S0 = null, Variable? P0 = null, Variable? ChunkStart = null);

/// <summary>The results of a recorded scan.</summary>
/// <param name="O">Reads [B, T, H, Dv].</param>
/// <param name="S">The final memory [B, H, Dk, Dv].</param>
/// <param name="P">The final momentum memory, exactly when μ was given.</param>
/// <param name="ChunkStart">S_c of the chunk that the next token belongs to, exactly where the chunk is part of the meaning.</param>
public sealed record ScanResults(Variable O, Variable S, Variable? P, Variable? ChunkStart = null);

public sealed partial class Tape
{
    /// <summary>The associative-memory scan of docs/specification.md, section 1; the gradient flows through it to every input.</summary>
    /// <exception cref="ArgumentException">A shape does not fit; see <see cref="Operations.Scan.Forward"/>.</exception>
    public ScanResults Scan(ScanVariables variables, ScanSettings settings)
    {
        ArgumentNullException.ThrowIfNull(variables);
        ScanVariables v = variables;
        Variable?[] given = [v.Q, v.K, v.U, v.LogAlpha, v.Erase, v.Mu, v.Theta, v.S0, v.P0, v.ChunkStart];
        ScanInputs inputs = ScanTensors.Inputs.Of<Variable?>(given, s_value);
        OperationCall call = ScanTensors.Validate(inputs, settings);
        bool needs = Needs(given);
        ScanSaved saved = needs ? ScanTensors.Saved.Make(call, New) : default;
        Variable?[] results = Results(ScanTensors.Outputs, call, needs);
        Operations.Scan.Forward(inputs, settings, ScanTensors.Outputs.Of<Variable?>(results, s_value) with { Saved = saved });
        if (needs)
        {
            Record(
                () => WriteGradients(ScanTensors.Inputs, given, gradients => Operations.Scan.Backward(
                    inputs, settings, saved, ScanTensors.Outputs.Gradients.Of<Variable?>(results, s_gradient), gradients)),
                [.. results.OfType<Variable>()]);
        }

        return new ScanResults(results[0]!, results[1]!, results[2], results[3]);
    }
}
