namespace NestedLearning.Models.Continual;

/// <summary>What a learner does against forgetting while it learns; one for each learner, since it remembers.</summary>
public abstract class LearningStrategy : IErrorTerms, IDisposable
{
    private protected LearningStrategy()
    {
    }

    /// <summary>The same settings at a beginning.</summary>
    public abstract LearningStrategy Anew();

    /// <summary>Frees what it remembers.</summary>
    public void Dispose()
    {
        Forget();
        GC.SuppressFinalize(this);
    }

    private protected abstract void Forget();

    /// <summary>The model that it will learn with, before the first byte.</summary>
    internal virtual void Begin(SequenceModel model)
    {
    }

    void IErrorTerms.Add(SequenceModel model, ReadOnlySpan<byte> text, int last) => Add(model, text, last);

    void IErrorTerms.Committed(SequenceModel model, ReadOnlySpan<byte> text, int last) => Committed(model, text, last);

    private protected abstract void Add(SequenceModel model, ReadOnlySpan<byte> text, int last);

    // Everything is learned by then, so that nothing here may fail: it takes no memory.
    private protected abstract void Committed(SequenceModel model, ReadOnlySpan<byte> text, int last);

    internal abstract void Save(SafetensorsFile file, string prefix, SequenceModel model);

    /// <summary>Checks what is to be loaded and returns what takes it over and cannot fail, and what gives it up.</summary>
    internal abstract (Action Take, Action Drop) PrepareLoad(SafetensorsFile file, string prefix, SequenceModel model);

    private protected static Parameter[] Parameters(SequenceModel model) => [.. model.Levels.Parameters];
}
