using System.Text;

namespace NestedLearning.Optimizers;

/// <summary>
/// An update rule. For each parameter it keeps a memory of the gradients seen (docs/specification.md, section 3): the memory is written
/// with an error term and read for an update.
/// </summary>
public abstract class Optimizer
{
    /// <summary>The rule in one line, for people: its name, its equation, and the settings in it.</summary>
    public abstract string Rule { get; }

    /// <summary>Checks every setting. A rule without settings has nothing to check.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range; the message names it, its value and what is allowed.</exception>
    public virtual void Validate()
    {
    }

    /// <summary>An empty memory for one parameter.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range, or the rule cannot act on such a parameter.</exception>
    public abstract OptimizerMemory CreateMemory(Parameter parameter);

    /// <summary>
    /// A seed of the parameter's own, from its name: the same in every run and on every machine, as a checkpoint's continuation needs it.
    /// </summary>
    private protected static ulong SeedFor(Parameter parameter, ulong seed)
    {
        // FNV-1a.
        ulong hash = 0xCBF29CE484222325;
        foreach (byte letter in Encoding.UTF8.GetBytes(parameter.Name))
            hash = (hash ^ letter) * 0x100000001B3;
        return seed ^ hash;
    }
}

/// <summary>One parameter's part in a commit.</summary>
/// <param name="Memory">The optimizer's memory of the parameter.</param>
/// <param name="Parameter">What is committed.</param>
/// <param name="LearningRate">η, a finite number.</param>
/// <param name="ErrorScale">Multiplies the error term first, a finite number.</param>
public readonly record struct ParameterCommit(OptimizerMemory Memory, Parameter Parameter, float LearningRate, float ErrorScale);

/// <summary>
/// One level of an optimizer's memory. A memory of gradients is itself a nested system: its parts may be written at
/// frequencies of their own.
/// </summary>
/// <param name="Name">What the level holds.</param>
/// <param name="Period">Commits of the parameter from one write of the level to the next; 0 where it is written once.</param>
/// <param name="Bytes">The size of its state.</param>
public readonly record struct OptimizerMemoryLevel(string Name, int Period, long Bytes);

/// <summary>What an optimizer remembers of one parameter's gradients.</summary>
/// <param name="optimizer">The rule that the memory follows.</param>
public abstract class OptimizerMemory(Optimizer optimizer) : IDisposable
{
    /// <summary>The rule that the memory follows; where rules are mixed, the one that was chosen for the parameter.</summary>
    public Optimizer Optimizer { get; } = optimizer;

    /// <summary>The tensors of the memory by name, for inspection and checkpoints.</summary>
    public abstract IReadOnlyList<(string Name, Tensor Value)> State { get; }

    /// <summary>
    /// The memory's own levels, the fastest first; none where it remembers nothing. Unless a memory says otherwise, all
    /// of its state is written at every commit.
    /// </summary>
    public virtual IReadOnlyList<OptimizerMemoryLevel> Levels =>
        State.Count == 0 ? [] : [new(string.Join(", ", State.Select(s => s.Name)), Period: 1, Bytes(State.Select(s => s.Value)))];

    /// <summary>The number of commits so far.</summary>
    public long Commits { get; internal set; }

    /// <summary>
    /// The largest norm of an error term, times its scale, that the memory takes. 2⁵⁰ unless it says otherwise: squares up to 2¹⁰⁰ leave
    /// float32 room for sums of 2²⁷ of them, and for products with a momentum of such gradients.
    /// </summary>
    protected internal virtual double LargestErrorNorm => CommitBound.LargestNorm;

    /// <summary>
    /// Whether <see cref="UpdateAll"/> is one operation, which takes no memory and succeeds or changes nothing, and sets error terms to
    /// zero itself. Of other memories there are copies while they commit.
    /// </summary>
    private protected virtual bool CommitsAtOnce => false;

    /// <summary>The size of these tensors.</summary>
    internal static long Bytes(params IEnumerable<Tensor> tensors) => tensors.Sum(t => (long)sizeof(float) * t.Count);

    /// <summary>
    /// Writes the parameter's error term, times <paramref name="errorScale"/>, into the memory and updates the
    /// parameter's value by what is read from it. The error term is left as it is.
    /// </summary>
    /// <exception cref="NotFiniteNumberException">The error term is not finite, or too large for the memory. Nothing changed.</exception>
    public void Commit(Parameter parameter, float learningRate, float errorScale)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        Require.Finite(learningRate);
        Require.Finite(errorScale);
        CommitBound.Require(Math.Sqrt(parameter.SquaredErrorNorm()) * Math.Abs(errorScale), LargestErrorNorm,
            $"The error term of '{parameter.Name}'");
        AllOrNothing([new(this, parameter, learningRate, errorScale)], () => Update(parameter, learningRate, errorScale, Commits + 1));
        Commits++;
    }

    /// <summary>
    /// Commits parameters together and sets their error terms to zero: those whose memories are of one class, on one
    /// device, by one call of <see cref="UpdateAll"/>.
    /// </summary>
    /// <param name="commits">No parameter occurs twice.</param>
    /// <param name="changes">One for each, written; or empty, when they are not wanted.</param>
    internal static void CommitAll(ParameterCommit[] commits, CommitChange[] changes)
    {
        foreach (ParameterCommit commit in commits)
        {
            Require.Finite(commit.LearningRate, "learning rate");
            Require.Finite(commit.ErrorScale, "error scale");
        }

        // Those that may fail in the middle go first.
        int[] order = [.. Enumerable.Range(0, commits.Length).OrderBy(i => commits[i].Memory.CommitsAtOnce)];
        AllOrNothing(commits, () => UpdateByClass(commits, order, changes));
        foreach (ParameterCommit commit in commits)
        {
            commit.Memory.Commits++;
            if (!commit.Memory.CommitsAtOnce)
                commit.Parameter.ClearError();
        }
    }

    // Of memories that may fail in the middle of an update there are copies to go back to.
    private static void AllOrNothing(ParameterCommit[] commits, Action update)
    {
        Tensor[] changing = [.. commits.Where(c => !c.Memory.CommitsAtOnce)
            .SelectMany(c => c.Memory.State.Select(s => s.Value).Prepend(c.Parameter.Value))];
        var kept = new List<Tensor>();
        try
        {
            foreach (Tensor tensor in changing)
                kept.Add(tensor.Clone());
            update();
        }
        catch
        {
            for (int i = 0; i < changing.Length && kept.Count == changing.Length; i++)
                changing[i].CopyFrom(kept[i]);
            throw;
        }
        finally
        {
            kept.ForEach(t => t.Dispose());
        }
    }

    // Updates all, in an order of their indices, those of one class on one device by one call.
    private static void UpdateByClass(ParameterCommit[] all, int[] order, CommitChange[] changes)
    {
        foreach (IGrouping<(Type, Device), int> group in order.GroupBy(i => (all[i].Memory.GetType(), all[i].Parameter.Value.Device)))
        {
            int[] members = [.. group];
            var measured = new CommitChange[changes.Length == 0 ? 0 : members.Length];
            ParameterCommit[] together = Array.ConvertAll(members, i => all[i]);
            together[0].Memory.UpdateAll(together, measured);
            for (int i = 0; i < measured.Length; i++)
                changes[members[i]] = measured[i];
        }
    }

    /// <summary>Forgets every gradient: the memory is as it was when it was made.</summary>
    public void Reset()
    {
        foreach ((_, Tensor value) in State)
            value.Fill(0);
        Commits = 0;
    }

    /// <summary>Does the update of commit number <paramref name="commit"/>, counted from 1.</summary>
    protected abstract void Update(Parameter parameter, float learningRate, float errorScale, long commit);

    /// <summary>
    /// Does the next update of each of several parameters, whose memories are of this class: one after the other, unless a class
    /// has a form that does all of them at once. Their error terms are set to zero afterwards, when every class has succeeded.
    /// </summary>
    /// <param name="commits">The parameters, all on one device.</param>
    /// <param name="changes">One for each, to be written; or empty, when they are not wanted.</param>
    protected virtual void UpdateAll(ReadOnlySpan<ParameterCommit> commits, Span<CommitChange> changes)
    {
        for (int i = 0; i < commits.Length; i++)
        {
            (OptimizerMemory memory, Parameter parameter, float learningRate, float errorScale) = commits[i];
            Tensor value = parameter.Value;
            Backend backend = value.Device.Backend;
            using Tensor? before = changes.IsEmpty ? null : value.Clone();
            memory.Update(parameter, learningRate, errorScale, memory.Commits + 1);
            if (before is null)
                continue;
            double squares = backend.SumOfSquares(before);
            backend.AddScaled(-1, value, before);
            changes[i] = new CommitChange(backend.SumOfSquares(before), squares);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the memory's tensors.</summary>
    protected virtual void Dispose(bool disposing)
    {
        foreach ((_, Tensor value) in State)
            value.Dispose();
    }
}
