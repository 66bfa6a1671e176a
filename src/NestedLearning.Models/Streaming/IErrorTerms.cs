namespace NestedLearning.Models;

/// <summary>Error terms beside those of the stream: rehearsal, penalties.</summary>
internal interface IErrorTerms
{
    /// <summary>
    /// Adds to the parameters' error terms after those of a piece of the stream were added and before a level commits. Called inside
    /// the all-or-nothing of <see cref="LevelSystem.Learn(int, Action)"/>: what it throws undoes the piece, so that it keeps nothing of
    /// its own yet.
    /// </summary>
    /// <param name="model">Whose parameters.</param>
    /// <param name="text">The piece. Its error terms are sums over its bytes.</param>
    /// <param name="last">The byte before it.</param>
    void Add(SequenceModel model, ReadOnlySpan<byte> text, int last);

    /// <summary>The piece was learned from, and levels that were due have committed.</summary>
    void Committed(SequenceModel model, ReadOnlySpan<byte> text, int last);
}
