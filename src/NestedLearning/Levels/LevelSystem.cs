namespace NestedLearning;

/// <summary>
/// A model's levels on one clock. Error terms gather in the parameters; when a level's chunk divides the step, they
/// are committed together:
/// <code>
/// θ_{i+1} = θ_i − Σ_{t = i−C+1}^{i} η_t f(θ_t; x_t)   if i ≡ 0 (mod C),   else θ_i          (NL 71)
/// </code>
/// A level that has a <see cref="LevelStart"/> passes its error terms on to it with every commit, and returns to it by the
/// same clock, after the commits of that step. Where nothing commits, nothing is written. A partial chunk waits for the
/// calls that complete it, unless it is flushed or dropped, and is part of every checkpoint.
/// </summary>
public sealed class LevelSystem : IDisposable
{
    /// <summary>A clock at step 0 over these levels, the fastest first by convention.</summary>
    /// <exception cref="ArgumentException">
    /// There is no level, a parameter or its name occurs twice, or a start is not a parameter of another level.
    /// </exception>
    public LevelSystem(params IEnumerable<Level> levels)
    {
        Levels = [.. levels];
        if (Levels.Count == 0)
            throw new ArgumentException("A model has at least one level.", nameof(levels));
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (Parameter parameter in Parameters)
        {
            if (!names.Add(parameter.Name))
                throw new ArgumentException($"The parameter '{parameter.Name}' occurs twice.", nameof(levels));
        }

        foreach (Level level in Levels)
        {
            foreach ((_, Parameter start) in level.Start?.Pairs ?? [])
            {
                if (!Levels.Any(l => l != level && l.Parameters.Contains(start)))
                    throw new ArgumentException($"The start '{start.Name}' of level '{level.Name}' is not a parameter of another level.",
                        nameof(levels));
            }
        }
    }

    /// <summary>The levels.</summary>
    public IReadOnlyList<Level> Levels { get; }

    /// <summary>The number of steps of the context flow so far.</summary>
    public long Step { get; private set; }

    /// <summary>Which level committed when; filled while <see cref="RecordsTimeline"/> is on.</summary>
    public LevelTimeline Timeline { get; } = new();

    /// <summary>Whether commits are measured and recorded. Adam measures in the pass of the commit itself.</summary>
    public bool RecordsTimeline { get; set; }

    /// <summary>
    /// How many steps remain until some level commits. Error terms gathered for one <see cref="Advance(int)"/> must not
    /// come from steps on both sides of it.
    /// </summary>
    public int StepsToNextCommit => Levels.Min(l => l.Chunk - (int)(Step % l.Chunk));

    /// <summary>f_ℓ = max C / C^(ℓ): 1 for the slowest level.</summary>
    /// <exception cref="ArgumentException">The level is not one of this system's.</exception>
    public double FrequencyOf(Level level)
    {
        ArgumentNullException.ThrowIfNull(level);
        if (!Levels.Contains(level))
            throw new ArgumentException($"Level '{level.Name}' is not one of this system's.", nameof(level));
        return (double)Levels.Max(l => l.Chunk) / level.Chunk;
    }

    /// <summary>Moves the clock by steps whose error terms have been added to the parameters, and commits what is due.</summary>
    /// <returns>The number of levels that committed.</returns>
    /// <exception cref="ArgumentOutOfRangeException">Fewer than 1 step, or more than <see cref="StepsToNextCommit"/>.</exception>
    /// <exception cref="NotFiniteNumberException">The error terms of a level that is due are not finite. Nothing changed.</exception>
    public int Advance(int steps)
    {
        RequireSteps([this], steps);
        int committed = Commit([this], steps, s => s.DueAfter(steps), norms: null);
        EndContexts();
        return committed;
    }

    /// <summary>
    /// Runs what adds the error terms of these steps to parameters, such as a backward pass, then advances by them: all of it
    /// or nothing.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">Fewer than 1 step, or more than <see cref="StepsToNextCommit"/>. Nothing
    /// changed.</exception>
    /// <exception cref="NotFiniteNumberException">The error terms are not finite. Nothing changed.</exception>
    public void Learn(int steps, Action addErrors) => Learn([this], steps, addErrors);

    /// <summary>
    /// Runs what adds the error terms of these steps to parameters, such as a backward pass, then advances every system by
    /// them: all of it or nothing. Systems move together that belong to different sequences of one batch.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">Fewer than 1 step, or more than a system's <see cref="StepsToNextCommit"/>. Nothing
    /// changed.</exception>
    /// <exception cref="NotFiniteNumberException">The error terms of a system are not finite; the message says which. Nothing
    /// changed.</exception>
    public static void Learn(IReadOnlyList<LevelSystem> systems, int steps, Action addErrors)
    {
        ArgumentNullException.ThrowIfNull(systems);
        ArgumentNullException.ThrowIfNull(addErrors);
        RequireSteps(systems, steps);
        Parameter[] parameters = [.. systems.SelectMany(s => s.Parameters)];
        var kept = new List<Tensor>();
        int[] segments = Array.ConvertAll(parameters, p => p.Factors?.Segments.Count ?? 0);
        try
        {
            foreach (Parameter parameter in parameters)
                kept.Add(parameter.Error.Clone());
            addErrors();
            Advance(systems, steps);
        }
        catch
        {
            // Before all were kept none was added to.
            for (int i = 0; i < parameters.Length && kept.Count == parameters.Length; i++)
            {
                parameters[i].Error.CopyFrom(kept[i]);
                parameters[i].Factors?.KeepFirst(segments[i]);
            }

            throw;
        }
        finally
        {
            kept.ForEach(e => e.Dispose());
        }
    }

    /// <summary>Advances every system, or none when one's error terms are not finite.</summary>
    /// <returns>The number of levels that committed, over all systems.</returns>
    /// <exception cref="ArgumentOutOfRangeException">Fewer than 1 step, or more than a system's <see cref="StepsToNextCommit"/>. Nothing
    /// changed.</exception>
    /// <exception cref="NotFiniteNumberException">The error terms of a system are not finite; the message says which. Nothing
    /// changed.</exception>
    public static int Advance(IReadOnlyList<LevelSystem> systems, int steps)
    {
        ArgumentNullException.ThrowIfNull(systems);
        RequireSteps(systems, steps);
        IReadOnlyDictionary<Level, double> norms = FiniteErrorNorms(systems);
        foreach (LevelSystem system in systems)
            RequireBoundedErrors(steps, system.DueAfter(steps), norms);
        int committed = Commit(systems, steps, s => s.DueAfter(steps), norms);
        foreach (LevelSystem system in systems)
            system.EndContexts();
        return committed;
    }

    /// <summary>Flushes every system, or none when one's error terms are not finite.</summary>
    /// <returns>The number of levels that committed, over all systems.</returns>
    /// <exception cref="NotFiniteNumberException">The error terms of a system are not finite; the message says which. Nothing
    /// changed.</exception>
    public static int Flush(IReadOnlyList<LevelSystem> systems)
    {
        ArgumentNullException.ThrowIfNull(systems);
        IReadOnlyDictionary<Level, double> norms = FiniteErrorNorms(systems);
        foreach (LevelSystem system in systems)
            RequireBoundedErrors(0, system.DueNow(), norms);
        return Commit(systems, 0, s => s.DueNow(), norms);
    }

    /// <summary>Commits every partial chunk now.</summary>
    /// <returns>The number of levels that committed.</returns>
    /// <exception cref="NotFiniteNumberException">The error terms of a level are not finite. Nothing changed.</exception>
    public int Flush() => Commit([this], 0, s => s.DueNow(), norms: null);

    /// <summary>
    /// Ends a context now: parameters that have a start pass their waiting error terms on to it, forget them, and return.
    /// The clock and all other parameters stay as they are.
    /// </summary>
    public void ReturnToStart()
    {
        foreach (Level level in Levels)
        {
            level.PassErrorsToStart();
            level.ReturnToStart();
        }
    }

    /// <summary>Forgets the error terms of every partial chunk.</summary>
    public void Drop()
    {
        foreach (Level level in Levels)
            level.Drop();
    }

    /// <summary>
    /// Writes parameters, waiting error terms, optimizer memories, clocks and the timeline, each name starting with the prefix, and the
    /// levels' settings as JSON into the metadata.
    /// </summary>
    public void Save(SafetensorsFile file, string prefix)
    {
        ArgumentNullException.ThrowIfNull(file);
        CheckpointSettings.Save(file, prefix, LevelSettings.Of(Levels));
        foreach ((string name, Tensor tensor) in Tensors(prefix))
            file.Add(name, tensor);
        foreach ((string name, GradientFactors factors) in Factors(prefix))
            factors.Save(file, name);
        file.Add(prefix + "clock", Clock());
        long[] forgotten = [.. Levels.SelectMany(l => l.Forgotten.ToArray())];
        if (Array.Exists(forgotten, f => f != 0))
            file.Add(prefix + "forgotten", forgotten);
        Timeline.Save(file, prefix + "timeline");
    }

    /// <summary>Takes over what <see cref="Save"/> wrote.</summary>
    /// <param name="file">What was written.</param>
    /// <param name="prefix">What its names start with.</param>
    /// <param name="allow">
    /// Settings of the levels that may differ from the file's, such as <c>LearningRate</c> or <c>Levels[1].Chunk</c>; they stay as
    /// they are here. <c>configuration</c> allows a file that does not have the settings.
    /// </param>
    /// <exception cref="ArgumentException">There is no setting of a name to be allowed. Nothing changed.</exception>
    /// <exception cref="CheckpointException">Something is missing or does not fit, or a setting is another: the message names it, with
    /// both values. Nothing changed.</exception>
    public void Load(SafetensorsFile file, string prefix, IReadOnlyCollection<string>? allow = null) =>
        PrepareLoad(file, prefix, allow)();

    /// <summary>Checks everything that <see cref="Load"/> would take over, and returns what takes it over and cannot fail.</summary>
    /// <exception cref="ArgumentException">There is no setting of a name to be allowed. Nothing changed.</exception>
    /// <exception cref="CheckpointException">Something is missing or does not fit, or a setting is another. Nothing changed.</exception>
    public Action PrepareLoad(SafetensorsFile file, string prefix, IReadOnlyCollection<string>? allow = null)
    {
        ArgumentNullException.ThrowIfNull(file);
        CheckpointSettings.Check(file, prefix, LevelSettings.Of(Levels), allow);
        return PrepareTensors(file, prefix);
    }

    // The same whatever the settings are.
    internal Action PrepareTensors(SafetensorsFile file, string prefix)
    {
        (string Name, Tensor Tensor)[] tensors = [.. Tensors(prefix)];
        foreach ((string name, Tensor tensor) in tensors)
            file.Floats(name, tensor.Shape);
        Action[] loadFactors = [.. Factors(prefix).Select(f => f.Factors.PrepareLoad(file, f.Name))];
        long[] clock = file.Integers(prefix + "clock", Clock().Length).ToArray();
        if (Array.Exists(clock, c => c < 0))
            throw new CheckpointException($"'{prefix}clock' has a negative count.");
        long[] forgotten = file.Contains(prefix + "forgotten")
            ? file.Integers(prefix + "forgotten", Parameters.Count()).ToArray() : new long[Parameters.Count()];
        if (Array.Exists(forgotten, f => f < 0))
            throw new CheckpointException($"'{prefix}forgotten' has a negative count.");
        LevelCommit[] timeline = LevelTimeline.Read(file, prefix + "timeline", Levels.Count);
        return () =>
        {
            foreach ((string name, Tensor tensor) in tensors)
                tensor.CopyFrom(file.Floats(name));
            foreach (Action load in loadFactors)
                load();
            int next = 0, first = 0;
            Step = clock[next++];
            foreach (Level level in Levels)
            {
                level.Commits = clock[next++];
                level.Pending = clock[next++];
                forgotten.AsSpan(first, level.Parameters.Count).CopyTo(level.Forgotten);
                first += level.Parameters.Count;
                foreach (OptimizerMemory memory in level.Memories)
                    memory.Commits = clock[next++];
            }

            Timeline.Replace(timeline);
        };
    }

    /// <summary>Frees parameters and memories.</summary>
    public void Dispose()
    {
        foreach (Level level in Levels)
        {
            foreach (Parameter parameter in level.Parameters)
                parameter.Dispose();
            foreach (OptimizerMemory memory in level.Memories)
                memory.Dispose();
        }
    }

    internal IEnumerable<Parameter> Parameters => Levels.SelectMany(l => l.Parameters);

    private static void RequireSteps(IReadOnlyList<LevelSystem> systems, int steps)
    {
        Require.Positive(steps);
        int most = systems.Min(s => s.StepsToNextCommit);
        if (steps > most)
            throw new ArgumentOutOfRangeException(nameof(steps), steps, $"{steps} steps go past the next commit, expected at most {most}.");
    }

    private static Dictionary<Level, double> FiniteErrorNorms(IReadOnlyList<LevelSystem> systems)
    {
        var norms = new Dictionary<Level, double>();
        for (int i = 0; i < systems.Count; i++)
        {
            foreach (Level level in systems[i].Levels)
            {
                double norm = level.ErrorNorm();
                if (!double.IsFinite(norm))
                    throw new NotFiniteNumberException("The error terms of level " +
                        $"'{level.Name}'{(systems.Count > 1 ? $" of sequence {i}" : "")} have norm {norm}; nothing was committed.", norm);
                norms[level] = norm;
            }
        }

        return norms;
    }

    // Levels whose context ends at this step return to their start.
    private void EndContexts()
    {
        foreach (Level level in Levels)
        {
            if (level.Start is { Chunks: > 0 } start && Step % ((long)start.Chunks * level.Chunk) == 0)
                level.ReturnToStart();
        }
    }

    private Level[] DueAfter(int steps) => [.. Levels.Where(l => (Step + steps) % l.Chunk == 0)];

    private Level[] DueNow() => [.. Levels.Where(l => l.Pending > 0)];

    // What a commit would throw for the size of error terms, before any system commits. A start gets at most the norms of those that
    // pass theirs on to it.
    private static void RequireBoundedErrors(int steps, Level[] due, IReadOnlyDictionary<Level, double> norms)
    {
        foreach (Level level in due)
        {
            double passed = due.Where(l => l.Start is not null && l.Start.Pairs.Any(p => level.Parameters.Contains(p.Start)))
                .Sum(l => norms[l]);
            level.ErrorScales(norms[level] + passed, level.Pending + steps);
        }
    }

    // Moves the clocks and commits what is due, or does nothing and throws. Norms: of the levels' error terms as they are, where they
    // were measured before.
    private static int Commit(IReadOnlyList<LevelSystem> systems, int steps, Func<LevelSystem, Level[]> dueOf,
        IReadOnlyDictionary<Level, double>? norms)
    {
        Level[][] due = [.. systems.Select(dueOf)];
        Level[] all = [.. systems.SelectMany(s => s.Levels)];
        Parameter[] starts = [.. due.SelectMany(d => d).SelectMany(l => l.Start?.Pairs ?? []).Select(p => p.Start)];
        var kept = new List<Tensor>();
        CommitChange[] changes;
        try
        {
            foreach (Parameter start in starts)
                kept.Add(start.Error.Clone());
            foreach (Level level in all)
                level.Pending += steps;
            foreach (Level level in due.SelectMany(d => d))
                level.PassErrorsToStart();
            ParameterCommit[] commits = [.. due.SelectMany(d => d).SelectMany(l => l.NextCommit(NormOf(l)))];
            changes = new CommitChange[systems.Any(s => s.RecordsTimeline) ? commits.Length : 0];
            OptimizerMemory.CommitAll(commits, changes);
        }
        catch
        {
            // Before the clocks moved not every start was kept.
            if (kept.Count == starts.Length)
            {
                foreach (Level level in all)
                    level.Pending -= steps;
                for (int i = 0; i < starts.Length; i++)
                    starts[i].Error.CopyFrom(kept[i]);
            }

            throw;
        }
        finally
        {
            kept.ForEach(e => e.Dispose());
        }

        ReadOnlySpan<CommitChange> left = changes;
        for (int i = 0; i < systems.Count; i++)
        {
            systems[i].Step += steps;
            foreach (Level level in due[i])
            {
                level.Committed();
                systems[i].Record(level, ref left);
            }
        }

        return due.Sum(d => d.Length);

        // What was passed on to a start was not measured there.
        double NormOf(Level level) => norms is null || level.Parameters.Any(starts.Contains) ? level.ErrorNorm() : norms[level];
    }

    // Adds a commit to the timeline; the changes of the level's parameters come first.
    private void Record(Level level, ref ReadOnlySpan<CommitChange> changes)
    {
        if (changes.IsEmpty)
            return;
        double change = 0, value = 0;
        foreach (CommitChange one in changes[..level.Parameters.Count])
        {
            change += one.Change;
            value += one.Value;
        }

        changes = changes[level.Parameters.Count..];
        if (RecordsTimeline)
            Timeline.Add(new LevelCommit(Array.IndexOf([.. Levels], level), Step, Math.Sqrt(change), Math.Sqrt(value)));
    }

    private IEnumerable<(string Name, Tensor Tensor)> Tensors(string prefix)
    {
        foreach (Level level in Levels)
        {
            for (int i = 0; i < level.Parameters.Count; i++)
            {
                Parameter parameter = level.Parameters[i];
                yield return ($"{prefix}value.{parameter.Name}", parameter.Value);
                yield return ($"{prefix}error.{parameter.Name}", parameter.Error);
                foreach ((string name, Tensor value) in level.Memories[i].State)
                    yield return ($"{prefix}memory.{parameter.Name}.{name}", value);
            }
        }
    }

    private IEnumerable<(string Name, GradientFactors Factors)> Factors(string prefix) =>
        Parameters.Where(p => p.Factors is not null).Select(p => ($"{prefix}factors.{p.Name}", p.Factors!));

    private long[] Clock()
    {
        var clock = new List<long> { Step };
        foreach (Level level in Levels)
        {
            clock.Add(level.Commits);
            clock.Add(level.Pending);
            clock.AddRange(level.Memories.Select(m => m.Commits));
        }

        return [.. clock];
    }
}
