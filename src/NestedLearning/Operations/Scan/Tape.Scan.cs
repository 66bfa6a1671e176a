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
    Variable Q, Variable K, Variable U, Variable? LogAlpha = null, Variable? Erase = null, Variable? Mu = null, Variable? Theta = null, Variable? S0 = null, Variable? P0 = null, Variable? ChunkStart = null);

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
        (Variable q, Variable k, Variable u, Variable? logAlpha, Variable? erase, Variable? mu, Variable? theta, Variable? s0, Variable? p0, Variable? chunkStart) = variables;
        bool needs = Needs(q, k, u, logAlpha, erase, mu, theta, s0, p0, chunkStart);
        var inputs = new ScanInputs
        {
            Q = q.Value, K = k.Value, U = u.Value, LogAlpha = logAlpha?.Value, Erase = erase?.Value, Mu = mu?.Value, Theta = theta?.Value, S0 = s0?.Value, P0 = p0?.Value, ChunkStart = chunkStart?.Value,
        };
        Shape state = Operations.Scan.StateShape(inputs);
        ScanSaved saved = default;
        if (needs)
        {
            Shape shape = Operations.Scan.SavedShape(inputs, settings);
            saved = new ScanSaved(New(shape), mu is null ? null : New(shape));
        }

        var o = new Variable(New(u.Shape), needs);
        var s = new Variable(New(state), needs);
        Variable? p = mu is null ? null : new Variable(New(state), needs);
        Variable? nextStart = settings.HasMeaningfulChunk ? new Variable(New(state), needs) : null;
        Operations.Scan.Forward(inputs, settings, new ScanOutputs { O = o.Value, S = s.Value, P = p?.Value, ChunkStart = nextStart?.Value, Saved = saved });
        if (needs)
        {
            Record(
                () =>
                {
                    using WrittenGradient dq = Written(q), dk = Written(k), du = Written(u), dlogAlpha = Written(logAlpha), derase = Written(erase),
                        dmu = Written(mu), dtheta = Written(theta), ds0 = Written(s0), dp0 = Written(p0), dchunkStart = Written(chunkStart);
                    Operations.Scan.Backward(
                        inputs,
                        settings,
                        saved,
                        new ScanOutputGradients(o.Gradient, s.Gradient, p?.Gradient, nextStart?.Gradient),
                        new ScanGradients
                        {
                            Q = dq.Place, K = dk.Place, U = du.Place, LogAlpha = dlogAlpha.Place, Erase = derase.Place, Mu = dmu.Place, Theta = dtheta.Place, S0 = ds0.Place, P0 = dp0.Place, ChunkStart = dchunkStart.Place,
                        });
                },
                [.. new[] { o, s, p, nextStart }.OfType<Variable>()]);
        }

        return new ScanResults(o, s, p, nextStart);
    }
}
