namespace NestedLearning.Models;

/// <summary>
/// A model that reads a stream of bytes once: it predicts every byte, is scored, and learns from it. All its memory
/// (weights, fast state, optimizer memory, level clocks) is carried from call to call.
/// </summary>
public interface IStreamLearner : IDisposable
{
    /// <summary>The name, as in tables.</summary>
    string Name { get; }

    /// <summary>The most bytes one call of <see cref="Read"/> takes; the caller's natural step.</summary>
    int SegmentLength { get; }

    /// <summary>The number of trained parameters, initial states of fast memories among them.</summary>
    long ParameterCount { get; }

    /// <summary>The number of bytes read so far.</summary>
    long Position { get; }

    /// <summary>Whether levels commit. Fast memory adapts within the stream either way.</summary>
    bool Learns { get; set; }

    /// <summary>The names of the levels, the fastest first, in the order of <see cref="LevelCommit.Level"/>.</summary>
    IReadOnlyList<string> LevelNames { get; }

    /// <summary>Which level committed when, with <see cref="LevelCommit.Step"/> in bytes of the stream.</summary>
    LevelTimeline Timeline { get; }

    /// <summary>
    /// Predicts each byte of the segment from everything before it, writes the loss of each in nats, then learns from
    /// the segment. The first byte of a segment is predicted from the last byte of the one before. A call that fails has read the
    /// bytes before <see cref="Position"/>, up to a commit or the end of a context, and nothing of the others.
    /// </summary>
    /// <exception cref="ArgumentException">An empty segment, one longer than <see cref="SegmentLength"/>, or losses of another
    /// length.</exception>
    void Read(ReadOnlySpan<byte> segment, Span<float> losses);

    /// <summary>
    /// The mean loss in nats a byte over a text read from a fresh stream, with every weight as it is now. Changes nothing.
    /// </summary>
    /// <param name="text">At least one byte.</param>
    /// <param name="cancellation">Asked before every segment.</param>
    /// <exception cref="ArgumentException">The text is empty.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    double Evaluate(ReadOnlySpan<byte> text, CancellationToken cancellation = default);

    /// <summary>An independent copy with the same weights, memories and clocks and an empty timeline.</summary>
    IStreamLearner Fork(string name);

    /// <summary>
    /// Writes everything a later <see cref="Load"/> needs, every name starting with the prefix; the configuration goes into the
    /// metadata.
    /// </summary>
    void Save(SafetensorsFile file, string prefix);

    /// <summary>Takes over what <see cref="Save"/> wrote.</summary>
    /// <param name="file">What was written.</param>
    /// <param name="prefix">What its names start with.</param>
    /// <param name="allow">Settings that may differ from the file's, by name; they stay as they are here.</param>
    /// <exception cref="ArgumentException">There is no setting of a name to be allowed; the learner is as it was.</exception>
    /// <exception cref="CheckpointException">Something is missing or of another shape, or a setting is another; the learner is as it
    /// was.</exception>
    void Load(SafetensorsFile file, string prefix, IReadOnlyCollection<string>? allow = null);
}
