namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>One commit of an elementwise memory of gradients for each of these; see <see cref="MomentSettings"/>.</summary>
    /// <param name="tensors">What is committed; what is written occurs once.</param>
    /// <param name="settings">One for each.</param>
    /// <param name="changes">One for each, written; or empty, when they are not wanted. 0 for those without w.</param>
    public abstract void MomentCommit(ReadOnlySpan<MomentTensors> tensors, ReadOnlySpan<MomentSettings> settings,
        Span<CommitChange> changes);
}
