namespace NestedLearning;

/// <summary>The inputs of a recorded deep memory; see <see cref="DeepMemoryInputs"/> for shapes and meanings.</summary>
/// <param name="Q">Queries.</param>
/// <param name="K">Keys.</param>
/// <param name="V">Targets.</param>
/// <param name="W1">The second layer's weights before the first token.</param>
/// <param name="W2">The first layer's weights before the first token.</param>
/// <param name="LogAlpha">log α.</param>
/// <param name="Theta">θ.</param>
/// <param name="Erase">ε.</param>
/// <param name="Mu">μ.</param>
/// <param name="P1">The momentum of W1 before the first token.</param>
/// <param name="P2">The momentum of W2 before the first token.</param>
/// <param name="ChunkStart1">W1_c of the first chunk, exactly when the phase is not 0.</param>
/// <param name="ChunkStart2">W2_c of the first chunk, exactly when the phase is not 0.</param>
public sealed record DeepMemoryVariables(
    Variable Q, Variable K, Variable V, Variable W1, Variable W2, Variable? LogAlpha = null, Variable? Theta = null, Variable? Erase = null,
    Variable? Mu = null,
    Variable? P1 = null, Variable? P2 = null, Variable? ChunkStart1 = null, Variable? ChunkStart2 = null);

/// <summary>The results of a recorded deep memory.</summary>
/// <param name="O">Reads [B, T, H, D].</param>
/// <param name="W1">The final W1 [B, H, N, D].</param>
/// <param name="W2">The final W2 [B, H, D, N].</param>
/// <param name="P1">The final momentum of W1, exactly when μ was given.</param>
/// <param name="P2">The final momentum of W2, exactly when μ was given.</param>
/// <param name="ChunkStart1">W1_c of the chunk that the next token belongs to.</param>
/// <param name="ChunkStart2">W2_c of that chunk.</param>
public sealed record DeepMemoryResults(Variable O, Variable W1, Variable W2, Variable? P1, Variable? P2, Variable ChunkStart1,
    Variable ChunkStart2);

public sealed partial class Tape
{
    /// <summary>The deep memory of docs/specification.md, section 2; the gradient flows through every write to every input.</summary>
    /// <exception cref="ArgumentException">A shape does not fit; see <see cref="Operations.DeepMemory.Forward"/>.</exception>
    public DeepMemoryResults DeepMemory(DeepMemoryVariables variables, DeepMemorySettings settings)
    {
        ArgumentNullException.ThrowIfNull(variables);
        DeepMemoryVariables x = variables;
        Variable?[] given =
            [x.Q, x.K, x.V, x.LogAlpha, x.Theta, x.Erase, x.Mu, x.W2, x.W1, x.P1, x.P2, x.ChunkStart1, x.ChunkStart2];
        DeepMemoryInputs inputs = DeepMemoryTensors.Inputs.Of<Variable?>(given, s_value);
        OperationCall call = DeepMemoryTensors.Validate(inputs, settings);
        bool needs = Needs(given);
        DeepMemorySaved saved = needs ? DeepMemoryTensors.Saved.Make(call, New) : default;
        Variable?[] results = Results(DeepMemoryTensors.Outputs, call, needs);
        Operations.DeepMemory.Forward(
            inputs, settings, DeepMemoryTensors.Outputs.Of<Variable?>(results, s_value) with { Saved = saved });
        if (needs)
        {
            Record(
                () => WriteGradients(DeepMemoryTensors.Inputs, given, gradients => Operations.DeepMemory.Backward(
                    inputs, settings, saved, DeepMemoryTensors.Outputs.Gradients.Of<Variable?>(results, s_gradient), gradients)),
                [.. results.OfType<Variable>()]);
        }

        return new DeepMemoryResults(results[0]!, results[1]!, results[2]!, results[3], results[4], results[5]!, results[6]!);
    }
}
