namespace NestedLearning;

/// <summary>
/// An update rule. For each parameter it keeps a memory of the gradients seen (spec section 3): the memory is written
/// with an error term and read for an update.
/// </summary>
public abstract class Optimizer
{
    /// <summary>An empty memory for one parameter.</summary>
    public abstract OptimizerMemory CreateMemory(Parameter parameter);
}

/// <summary>What an optimizer remembers of one parameter's gradients.</summary>
public abstract class OptimizerMemory : IDisposable
{
    /// <summary>The tensors of the memory by name, for inspection and checkpoints.</summary>
    public abstract IReadOnlyList<(string Name, Tensor Value)> State { get; }

    /// <summary>The number of commits so far.</summary>
    public long Commits { get; internal set; }

    /// <summary>
    /// Writes the parameter's error term, times <paramref name="errorScale"/>, into the memory and updates the
    /// parameter's value by what is read from it. The error term is left as it is.
    /// </summary>
    public void Commit(Parameter parameter, float learningRate, float errorScale)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        Require.Finite(learningRate);
        Require.Finite(errorScale);
        Update(parameter, learningRate, errorScale, Commits + 1);
        Commits++;
    }

    /// <summary>Does the update of commit number <paramref name="commit"/>, counted from 1.</summary>
    protected abstract void Update(Parameter parameter, float learningRate, float errorScale, long commit);

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
