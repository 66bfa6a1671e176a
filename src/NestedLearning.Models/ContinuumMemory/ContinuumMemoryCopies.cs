namespace NestedLearning.Models;

/// <summary>
/// A fast copy of a <see cref="ContinuumMemory"/> for every sequence of a batch: weights, starts, error terms, optimizer
/// memories and clocks of its own. What one sequence teaches its copy, no other sequence sees, and the memory it was copied
/// from does not change: B copies are B separate runs, to the bit.
/// </summary>
public sealed class ContinuumMemoryCopies : IDisposable
{
    private readonly ContinuumMemory[] _sequences;
    private readonly LevelSystem[] _systems;

    /// <summary>Copies of a memory as it is now.</summary>
    /// <param name="source">Only read.</param>
    /// <param name="batch">B: the number of copies, at least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">There would be no copy.</exception>
    public ContinuumMemoryCopies(ContinuumMemory source, int batch)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        _sequences = [.. Enumerable.Range(0, batch).Select(_ => source.Clone())];
        _systems = Array.ConvertAll(_sequences, s => s.Levels);
    }

    /// <summary>Each sequence's own memory, to look into, save, or use alone.</summary>
    public IReadOnlyList<ContinuumMemory> Sequences => _sequences;

    /// <summary>The most tokens that one call may advance every sequence by.</summary>
    public int StepsToNextCommit => _systems.Min(s => s.StepsToNextCommit);

    /// <summary>
    /// y [B, T, D] for x [B, T, D], each sequence by its own weights; gradients flow to x and to each copy's error terms.
    /// </summary>
    /// <exception cref="ArgumentException">x is not [B, T, D].</exception>
    public Variable Forward(Tape tape, Variable x)
    {
        ArgumentNullException.ThrowIfNull(tape);
        ArgumentNullException.ThrowIfNull(x);
        RequireBatch(x.Value);
        return tape.Stack([.. tape.Unstack(x).Select((sequence, b) => _sequences[b].Forward(tape, sequence))]);
    }

    /// <summary>Moves every sequence's clock by T steps whose error terms have been added, and commits what is due.</summary>
    /// <returns>The number of levels that committed, over all sequences.</returns>
    /// <exception cref="ArgumentOutOfRangeException">Fewer than 1 step, or more than <see cref="StepsToNextCommit"/>. Nothing
    /// changed.</exception>
    /// <exception cref="NotFiniteNumberException">The error terms of a sequence are not finite; the message says which. Nothing
    /// changed.</exception>
    public int Advance(int steps) => LevelSystem.Advance(_systems, steps);

    /// <summary>As <see cref="ContinuumMemory.Regress"/>, each sequence [T, D] of x and target by its own weights and for itself.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit. Nothing changed.</exception>
    /// <exception cref="ArgumentOutOfRangeException">T goes past the next commit. Nothing changed.</exception>
    /// <exception cref="NotFiniteNumberException">An output, target or gradient is not finite. Nothing changed.</exception>
    public Tensor Regress(Tensor x, Tensor target)
    {
        RequireBatch(x);
        ContinuumMemory.RequireTarget(x, target);
        using var tape = new Tape(x.Device, recording: false);
        IReadOnlyList<Variable> inputs = tape.Unstack(tape.Input(x)), targets = tape.Unstack(tape.Input(target));
        var outputs = new Variable[_sequences.Length];
        Tensor? y = null;
        try
        {
            LevelSystem.Learn(_systems, x.Shape[1], () =>
            {
                for (int b = 0; b < outputs.Length; b++)
                    outputs[b] = tape.Input(tape.Keep(_sequences[b].AddRegression(inputs[b].Value, targets[b].Value)));
                y = tape.Stack(outputs).Value.Clone();
            });
            return y!;
        }
        catch
        {
            y?.Dispose();
            throw;
        }
    }

    /// <summary>Commits every partial chunk of every sequence now.</summary>
    /// <returns>The number of levels that committed, over all sequences.</returns>
    /// <exception cref="NotFiniteNumberException">The error terms of a sequence are not finite; the message says which. Nothing
    /// changed.</exception>
    public int Flush() => LevelSystem.Flush(_systems);

    /// <summary>Forgets the error terms of every partial chunk of every sequence.</summary>
    public void Drop()
    {
        foreach (LevelSystem system in _systems)
            system.Drop();
    }

    /// <summary>Ends every sequence's context; see <see cref="LevelSystem.ReturnToStart"/>.</summary>
    public void ReturnToStart()
    {
        foreach (LevelSystem system in _systems)
            system.ReturnToStart();
    }

    /// <summary>Makes every sequence a copy of this memory as it is now.</summary>
    /// <exception cref="CheckpointException">It has another shape. Nothing changed.</exception>
    public void CopyFrom(ContinuumMemory source)
    {
        foreach (ContinuumMemory sequence in _sequences)
            sequence.CopyFrom(source);
    }

    /// <summary>Writes every sequence's memory, each name starting with the prefix.</summary>
    public void Save(SafetensorsFile file, string prefix)
    {
        for (int b = 0; b < _sequences.Length; b++)
            _sequences[b].Save(file, $"{prefix}{b}.");
    }

    /// <summary>Takes over what <see cref="Save"/> wrote for as many sequences or more.</summary>
    /// <exception cref="ArgumentException">There is no setting of a name to be allowed. Nothing changed.</exception>
    /// <exception cref="CheckpointException">Something is missing or does not fit, or a setting is another. Nothing changed.</exception>
    public void Load(SafetensorsFile file, string prefix, IReadOnlyCollection<string>? allow = null)
    {
        Action[] load = [.. _sequences.Select((s, b) => s.PrepareLoad(file, $"{prefix}{b}.", allow))];
        foreach (Action action in load)
            action();
    }

    /// <summary>Frees every copy.</summary>
    public void Dispose()
    {
        foreach (ContinuumMemory sequence in _sequences)
            sequence.Dispose();
    }

    private void RequireBatch(Tensor x)
    {
        _sequences[0].RequireFeatures(x, nameof(x));
        if (x.Shape[0] != _sequences.Length)
            throw new ArgumentException($"x has shape {x.Shape}, expected {_sequences.Length} sequences.", nameof(x));
    }
}
