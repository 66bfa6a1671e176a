namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>
    /// One Adam or AdamW step for each of these, shared out among the threads whatever their sizes: w, m and v in and
    /// out, g in.
    /// m ← β1 m + (1 − β1) g; v ← β2 v + (1 − β2) g²; w ← w − η m̂ / (√v̂ + ε), with weight decay as set.
    /// </summary>
    /// <param name="tensors">What is committed; no tensor occurs twice.</param>
    /// <param name="settings">One for each.</param>
    /// <param name="changes">One for each, written; or empty, when they are not wanted.</param>
    public abstract void AdamCommit(ReadOnlySpan<AdamTensors> tensors, ReadOnlySpan<AdamSettings> settings, Span<CommitChange> changes);
}
