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
    Variable Q, Variable K, Variable V, Variable W1, Variable W2, Variable? LogAlpha = null, Variable? Theta = null, Variable? Erase = null, Variable? Mu = null,
    Variable? P1 = null, Variable? P2 = null, Variable? ChunkStart1 = null, Variable? ChunkStart2 = null);

/// <summary>The results of a recorded deep memory.</summary>
/// <param name="O">Reads [B, T, H, D].</param>
/// <param name="W1">The final W1 [B, H, N, D].</param>
/// <param name="W2">The final W2 [B, H, D, N].</param>
/// <param name="P1">The final momentum of W1, exactly when μ was given.</param>
/// <param name="P2">The final momentum of W2, exactly when μ was given.</param>
/// <param name="ChunkStart1">W1_c of the chunk that the next token belongs to.</param>
/// <param name="ChunkStart2">W2_c of that chunk.</param>
public sealed record DeepMemoryResults(Variable O, Variable W1, Variable W2, Variable? P1, Variable? P2, Variable ChunkStart1, Variable ChunkStart2);

public sealed partial class Tape
{
    /// <summary>The deep memory of docs/specification.md, section 2; the gradient flows through every write to every input.</summary>
    /// <exception cref="ArgumentException">A shape does not fit; see <see cref="Operations.DeepMemory.Forward"/>.</exception>
    public DeepMemoryResults DeepMemory(DeepMemoryVariables variables, DeepMemorySettings settings)
    {
        ArgumentNullException.ThrowIfNull(variables);
        DeepMemoryVariables x = variables;
        bool needs = Needs(x.Q, x.K, x.V, x.W1, x.W2, x.LogAlpha, x.Theta, x.Erase, x.Mu, x.P1, x.P2, x.ChunkStart1, x.ChunkStart2), momentum = x.Mu is not null;
        var inputs = new DeepMemoryInputs
        {
            Q = x.Q.Value, K = x.K.Value, V = x.V.Value, LogAlpha = x.LogAlpha?.Value, Theta = x.Theta?.Value, Erase = x.Erase?.Value, Mu = x.Mu?.Value,
            W1 = x.W1.Value, W2 = x.W2.Value, P1 = x.P1?.Value, P2 = x.P2?.Value, ChunkStart1 = x.ChunkStart1?.Value, ChunkStart2 = x.ChunkStart2?.Value,
        };
        DeepMemorySaved saved = default;
        if (needs)
        {
            Shape saved1 = Operations.DeepMemory.SavedShape1(inputs, settings), saved2 = Operations.DeepMemory.SavedShape2(inputs, settings);
            saved = new DeepMemorySaved(New(saved1), New(saved2), momentum ? New(saved1) : null, momentum ? New(saved2) : null);
        }

        Variable o = Result(x.Q.Shape), w1 = Result(x.W1.Shape), w2 = Result(x.W2.Shape), start1 = Result(x.W1.Shape), start2 = Result(x.W2.Shape);
        Variable? p1 = momentum ? Result(x.W1.Shape) : null, p2 = momentum ? Result(x.W2.Shape) : null;
        Operations.DeepMemory.Forward(inputs, settings, new DeepMemoryOutputs
        {
            O = o.Value, W1 = w1.Value, W2 = w2.Value, P1 = p1?.Value, P2 = p2?.Value, ChunkStart1 = start1.Value, ChunkStart2 = start2.Value, Saved = saved,
        });
        if (needs)
        {
            Record(
                () =>
                {
                    using WrittenGradient dq = Written(x.Q), dk = Written(x.K), dv = Written(x.V), dlogAlpha = Written(x.LogAlpha), dtheta = Written(x.Theta), derase = Written(x.Erase),
                        dmu = Written(x.Mu), dw1 = Written(x.W1), dw2 = Written(x.W2), dp1 = Written(x.P1), dp2 = Written(x.P2), dstart1 = Written(x.ChunkStart1), dstart2 = Written(x.ChunkStart2);
                    Operations.DeepMemory.Backward(
                        inputs,
                        settings,
                        saved,
                        new DeepMemoryOutputGradients
                        {
                            O = o.Gradient, W1 = w1.Gradient, W2 = w2.Gradient, P1 = p1?.Gradient, P2 = p2?.Gradient, ChunkStart1 = start1.Gradient, ChunkStart2 = start2.Gradient,
                        },
                        new DeepMemoryGradients
                        {
                            Q = dq.Place, K = dk.Place, V = dv.Place, LogAlpha = dlogAlpha.Place, Theta = dtheta.Place, Erase = derase.Place, Mu = dmu.Place,
                            W1 = dw1.Place, W2 = dw2.Place, P1 = dp1.Place, P2 = dp2.Place, ChunkStart1 = dstart1.Place, ChunkStart2 = dstart2.Place,
                        });
                },
                [.. new[] { o, w1, w2, p1, p2, start1, start2 }.OfType<Variable>()]);
        }

        return new DeepMemoryResults(o, w1, w2, p1, p2, start1, start2);

        Variable Result(Shape shape) => new(New(shape), needs);
    }
}
