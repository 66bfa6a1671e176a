namespace NestedLearning.Models;

/// <summary>
/// One tensor of a mixer's state. Its shape is a function of the number of tokens read since the context began, so that a
/// state and a checkpoint of it are described by that number alone.
/// </summary>
/// <param name="Name">The name in checkpoints.</param>
/// <param name="Shape">The shape for B sequences after so many tokens of a context; null where there is none.</param>
/// <param name="OutlivesContext">Whether it is kept when a context ends: it has one shape at every token, others have none at the
/// first.</param>
internal sealed record StatePart(string Name, Func<int, long, Shape?> Shape, bool OutlivesContext = false);

/// <summary>
/// The fast memory of one mixer for every sequence of a batch: named tensors. Their elements never change, each step makes
/// new ones, so copies share them.
/// </summary>
internal sealed class MixerState : IDisposable
{
    private readonly IReadOnlyList<StatePart> _parts;
    private readonly Tensor?[] _tensors;

    private MixerState(IReadOnlyList<StatePart> parts, int batch, long tokens, Tensor?[] tensors) =>
        (_parts, Batch, Tokens, _tensors) = (parts, batch, tokens, tensors);

    /// <summary>The state of new sequences: zeros where there is anything yet.</summary>
    public MixerState(Device device, IReadOnlyList<StatePart> parts, int batch)
        : this(parts, batch, 0, [.. parts.Select(p => p.Shape(batch, 0) is { } shape ? device.Zeros(shape) : null)])
    {
    }

    /// <summary>B.</summary>
    public int Batch { get; }

    /// <summary>Tokens since the context began.</summary>
    public long Tokens { get; private set; }

    /// <summary>The tensors that are there, with their names.</summary>
    public IEnumerable<(string Name, Tensor Value)> Tensors
    {
        get
        {
            for (int i = 0; i < _tensors.Length; i++)
            {
                if (_tensors[i] is { } tensor)
                    yield return (_parts[i].Name, tensor);
            }
        }
    }

    /// <summary>A part's tensor; null where it has none at this token.</summary>
    public Tensor? this[string part] => _tensors[IndexOf(part)];

    /// <summary>
    /// The state some tokens later. It holds these tensors beside the tape, which must not write them again; those of parts
    /// that have no shape then are left out.
    /// </summary>
    public MixerState After(int tokens, IEnumerable<(string Name, Tensor Value)> tensors)
    {
        var values = tensors.ToDictionary(t => t.Name, t => t.Value);
        Shape?[] shapes = [.. _parts.Select(p => p.Shape(Batch, Tokens + tokens))];
        for (int i = 0; i < shapes.Length; i++)
        {
            if (shapes[i] is { } shape && values[_parts[i].Name].Shape != shape)
                throw new InvalidOperationException($"'{_parts[i].Name}' has shape {values[_parts[i].Name].Shape} after " +
                    $"{Tokens + tokens} tokens, expected {shape}.");
        }

        return new MixerState(_parts, Batch, Tokens + tokens,
            [.. _parts.Select((p, i) => shapes[i] is { } shape ? values[p.Name].Reshape(shape) : null)]);
    }

    /// <summary>An independent copy.</summary>
    public MixerState Clone() => new(_parts, Batch, Tokens, Array.ConvertAll(_tensors, t => t?.Reshape(t.Shape)));

    /// <summary>Forgets the context.</summary>
    public void EndContext()
    {
        Tokens = 0;
        for (int i = 0; i < _tensors.Length; i++)
        {
            if (_parts[i].OutlivesContext)
                continue;
            _tensors[i]?.Dispose();
            _tensors[i] = null;
        }
    }

    /// <summary>Forgets everything.</summary>
    public void Reset()
    {
        EndContext();
        for (int i = 0; i < _tensors.Length; i++)
        {
            if (_tensors[i] is not { } old)
                continue;
            _tensors[i] = old.Device.Zeros(old.Shape);
            old.Dispose();
        }
    }

    /// <summary>Writes every tensor that is there.</summary>
    public void Save(SafetensorsFile file, string prefix)
    {
        foreach ((string name, Tensor value) in Tensors)
            file.Add(prefix + name, value);
    }

    /// <summary>What <see cref="Save"/> wrote after so many tokens of a context.</summary>
    /// <exception cref="CheckpointException">Something is missing or has another shape.</exception>
    public static MixerState Load(Device device, IReadOnlyList<StatePart> parts, int batch, long tokens, SafetensorsFile file,
        string prefix)
    {
        var tensors = new Tensor?[parts.Count];
        var state = new MixerState(parts, batch, tokens, tensors);
        try
        {
            for (int i = 0; i < tensors.Length; i++)
            {
                if (parts[i].Shape(batch, tokens) is { } shape)
                    tensors[i] = device.From(shape, file.Floats(prefix + parts[i].Name, shape));
            }

            return state;
        }
        catch
        {
            state.Dispose();
            throw;
        }
    }

    /// <summary>Frees the tensors.</summary>
    public void Dispose()
    {
        foreach ((_, Tensor value) in Tensors)
            value.Dispose();
    }

    private int IndexOf(string name)
    {
        for (int i = 0; i < _parts.Count; i++)
        {
            if (_parts[i].Name == name)
                return i;
        }

        throw new ArgumentException($"There is no part '{name}', expected one of {string.Join(", ", _parts.Select(p => p.Name))}.",
            nameof(name));
    }
}
