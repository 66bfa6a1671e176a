namespace NestedLearning.Models;

/// <summary>
/// The fast memory of a batch of streams: what a model has written into itself since the context began. One for each
/// stream, never hidden in the model, so that streams with states of their own may share a model's slow weights.
/// </summary>
public sealed class SequenceState : IDisposable
{
    private readonly ModelConfiguration _configuration;

    internal SequenceState(ModelConfiguration configuration, int batch, MixerState[] blocks)
    {
        _configuration = configuration;
        Batch = batch;
        Blocks = blocks;
    }

    /// <summary>B.</summary>
    public int Batch { get; }

    /// <summary>Tokens since the fast memories were at their learned start.</summary>
    public long ContextPosition => Blocks[0].Tokens;

    internal MixerState[] Blocks { get; }

    /// <summary>An independent copy.</summary>
    public SequenceState Clone() => new(_configuration, Batch, Array.ConvertAll(Blocks, b => b.Clone()));

    /// <summary>Back to the state of a new stream.</summary>
    public void Reset()
    {
        foreach (MixerState block in Blocks)
            block.Reset();
    }

    /// <summary>
    /// Writes the fast memory, every name starting with the prefix, and the model's configuration as JSON into the metadata.
    /// </summary>
    public void Save(SafetensorsFile file, string prefix)
    {
        ArgumentNullException.ThrowIfNull(file);
        CheckpointSettings.Save(file, prefix, ConfigurationJson.Of(_configuration));
        SaveTensors(file, prefix);
    }

    internal void SaveTensors(SafetensorsFile file, string prefix)
    {
        file.Add(prefix + "context", [ContextPosition]);
        for (int b = 0; b < Blocks.Length; b++)
            Blocks[b].Save(file, $"{prefix}{b}.");
    }

    /// <summary>A state of a model as <see cref="Save"/> wrote it.</summary>
    /// <param name="model">The model.</param>
    /// <param name="batch">How many streams.</param>
    /// <param name="file">What was written.</param>
    /// <param name="prefix">What its names start with.</param>
    /// <param name="allow">Settings of the model that may differ from the file's, as in <see cref="SequenceModel.Load(SafetensorsFile,
    /// string, IReadOnlyCollection{string}?)"/>.</param>
    /// <exception cref="ArgumentException">There is no setting of a name to be allowed.</exception>
    /// <exception cref="CheckpointException">Something is missing or does not fit the model, or a setting is another.</exception>
    public static SequenceState Load(SequenceModel model, int batch, SafetensorsFile file, string prefix,
        IReadOnlyCollection<string>? allow = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(file);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        CheckpointSettings.Check(file, prefix, ConfigurationJson.Of(model.Configuration), allow, ConfigurationJson.InitialOfModel);
        return LoadTensors(model, batch, file, prefix);
    }

    internal static SequenceState LoadTensors(SequenceModel model, int batch, SafetensorsFile file, string prefix)
    {
        long context = file.Integers(prefix + "context", 1)[0];
        int length = model.Configuration.ContextLength;
        if (context < 0 || (length > 0 && context >= length))
            throw new CheckpointException($"'{prefix}context' is {context}, expected 0 to {(length > 0 ? length - 1 : long.MaxValue)}.");
        var blocks = new List<MixerState>();
        try
        {
            foreach (ITokenMixer mixer in model.Mixers)
                blocks.Add(MixerState.Load(model.Device, mixer.State, batch, context, file, $"{prefix}{blocks.Count}."));
            return new SequenceState(model.Configuration, batch, [.. blocks]);
        }
        catch
        {
            foreach (MixerState block in blocks)
                block.Dispose();
            throw;
        }
    }

    /// <summary>Frees the memory.</summary>
    public void Dispose()
    {
        foreach (MixerState block in Blocks)
            block.Dispose();
    }

    internal void EndContext()
    {
        foreach (MixerState block in Blocks)
            block.EndContext();
    }
}
