namespace NestedLearning;

/// <summary>
/// The states that a level's parameters begin from and return to. A start is itself a parameter of another level, which
/// meta-learns it (NL 72, 73):
/// <code>
/// θ₀^(s+1) = argmin_Φ E_{T ~ C^(s)} [ ℓ(Θ, T; Φ) ]
/// </code>
/// To first order: the gradient at the moved parameters is the start's as it is, whatever optimizer moved them. The error
/// terms of the moved parameters are added to the start's when they are committed, and the start is committed at its own
/// level's frequency.
/// </summary>
public sealed class LevelStart
{
    /// <summary>Starts for some of a level's parameters.</summary>
    /// <param name="pairs">Parameters of the level, each with its start: a parameter of another level, of the same shape and
    /// device.</param>
    /// <param name="chunks">
    /// How many of the level's chunks pass from one return to the next, at least 1: the parameters return where
    /// chunks · C divides the step. 0: only <see cref="LevelSystem.ReturnToStart"/> returns them.
    /// </param>
    /// <param name="resetsOptimizer">
    /// Whether the parameters' optimizer memories become empty with each return, so that a context is learned as if it were
    /// the first; otherwise they carry gradients over from context to context. <see cref="FollowTheRegularizedLeader"/>, whose
    /// memory says where the parameters are, has to be emptied.
    /// </param>
    /// <exception cref="ArgumentException">There is no pair, a parameter occurs twice, or a pair's shapes or devices differ.</exception>
    public LevelStart(IEnumerable<(Parameter Parameter, Parameter Start)> pairs, int chunks, bool resetsOptimizer = true)
    {
        ArgumentNullException.ThrowIfNull(pairs);
        Pairs = [.. pairs];
        if (Pairs.Count == 0)
            throw new ArgumentException("A start is that of at least one parameter.", nameof(pairs));
        if (chunks < 0)
            throw new ArgumentOutOfRangeException(nameof(chunks), chunks, $"chunks is {chunks}, expected at least 0.");
        var seen = new HashSet<Parameter>();
        foreach ((Parameter parameter, Parameter start) in Pairs)
        {
            if (!seen.Add(parameter) || !seen.Add(start))
                throw new ArgumentException($"'{parameter.Name}' or its start '{start.Name}' occurs twice.", nameof(pairs));
            Require.SameShape(start.Value, parameter.Value.Shape, start.Name);
            Require.OnDevice(start.Value, parameter.Value.Device, start.Name);
        }

        Chunks = chunks;
        ResetsOptimizer = resetsOptimizer;
    }

    /// <summary>The parameters, each with its start.</summary>
    public IReadOnlyList<(Parameter Parameter, Parameter Start)> Pairs { get; }

    /// <summary>The level's chunks from one return to the next; 0: it returns only when told to.</summary>
    public int Chunks { get; }

    /// <summary>Whether a return empties the parameters' optimizer memories.</summary>
    public bool ResetsOptimizer { get; }
}
