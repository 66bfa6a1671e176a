namespace NestedLearning;

/// <summary>The results of a recorded self-modifying scan.</summary>
/// <param name="O">Reads [B, T, H, D].</param>
/// <param name="S">The final memories [B, H, D, 3D + 2].</param>
/// <param name="ChunkStart">S_c of the chunk that the next token belongs to; where no gradient is recorded and the chunk goes on, the one that was given.</param>
public sealed record SelfModifyingResults(Variable O, Variable S, Variable ChunkStart);

public sealed partial class Tape
{
    /// <summary>
    /// The self-modifying scan of docs/specification.md, section 6; see <see cref="SelfModifyingInputs"/>. chunkStart is given exactly when
    /// the settings' phase is not 0.
    /// </summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public SelfModifyingResults SelfModifying(Variable x, Variable q, Variable s0, SelfModifyingSettings settings, Variable? chunkStart = null)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(q);
        ArgumentNullException.ThrowIfNull(s0);
        bool needs = Needs(x, q, s0, chunkStart);
        var inputs = new SelfModifyingInputs { X = x.Value, Q = q.Value, S0 = s0.Value, ChunkStart = chunkStart?.Value };
        Tensor? states = needs ? New(Operations.SelfModifying.SavedShape(inputs, settings)) : null;
        var o = new Variable(New(x.Shape), needs);
        var s = new Variable(New(s0.Shape), needs);
        // While a chunk goes on its start stays: token by token, a copy would be a third of what is moved.
        bool goesOn = !needs && chunkStart is not null && settings.Phase + inputs.Time < settings.Chunk;
        Variable nextStart = goesOn ? chunkStart! : new Variable(New(s0.Shape), needs);
        Operations.SelfModifying.Forward(inputs, settings, new SelfModifyingOutputs { O = o.Value, S = s.Value, ChunkStart = goesOn ? null : nextStart.Value, ChunkStates = states });
        if (needs)
        {
            Record(
                () =>
                {
                    using Tensor? zero = o.Gradient is null ? Device.Zeros(o.Shape) : null;
                    using WrittenGradient dx = Written(x), dq = Written(q), ds0 = Written(s0), dchunkStart = Written(chunkStart);
                    Operations.SelfModifying.Backward(
                        inputs,
                        settings,
                        states!,
                        new SelfModifyingOutputGradients(o.Gradient ?? zero!, s.Gradient, nextStart.Gradient),
                        new SelfModifyingGradients { X = dx.Place, Q = dq.Place, S0 = ds0.Place, ChunkStart = dchunkStart.Place });
                },
                o,
                s,
                nextStart);
        }

        return new SelfModifyingResults(o, s, nextStart);
    }
}
