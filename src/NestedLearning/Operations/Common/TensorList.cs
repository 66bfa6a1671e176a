namespace NestedLearning.Operations;

/// <summary>A tensor of a record, or null where it is not given.</summary>
internal delegate Tensor? TensorGetter<TRecord>(in TRecord record);

/// <summary>The record with another tensor in its place.</summary>
internal delegate TRecord TensorSetter<TRecord>(TRecord record, Tensor? tensor);

/// <summary>Whether a tensor may be left out, where its condition holds.</summary>
internal enum TensorRole
{
    Required,
    Optional,

    /// <summary>Optional, zero when left out, and the gradient of that zero may be asked for.</summary>
    State,
}

/// <summary>One tensor of a record: its name in messages and cases, its shape such as <c>B T H Dk</c>, and when it is given.</summary>
internal class TensorRow<TRecord>(
    string name, string axes, TensorRole role, TensorGetter<TRecord> get, TensorSetter<TRecord> with, TensorCondition? when = null)
{
    private readonly TensorAxis[] _axes = [.. axes.Split(' ').Select(TensorAxis.Parse)];

    public string Name => name;

    public string Axes => axes;

    public TensorRole Role => role;

    public TensorGetter<TRecord> Get => get;

    public TensorSetter<TRecord> With => with;

    /// <summary>Whether the tensor may be given when these conditions hold.</summary>
    public bool IsAllowed(int held) => when is null || when.IsIn(held);

    /// <summary>Finds the axes among an operation's names.</summary>
    public void Place(string[] names)
    {
        for (int i = 0; i < _axes.Length; i++)
        {
            if (_axes[i].Name.Length > 0)
                _axes[i] = _axes[i] with { Place = Array.IndexOf(names, _axes[i].Name) };
        }
    }

    public Shape Shape(in OperationCall call)
    {
        Span<int> lengths = stackalloc int[_axes.Length];
        for (int i = 0; i < lengths.Length; i++)
            lengths[i] = call.Length(_axes[i]);
        return new Shape(lengths);
    }

    /// <summary>Checks that the tensor is given or not as it should be, its shape and its device.</summary>
    /// <exception cref="ArgumentException">It is not.</exception>
    public void Validate(Tensor? tensor, ref OperationCall call)
    {
        bool allowed = IsAllowed(call.Held);
        if (tensor is null)
        {
            if (allowed && role == TensorRole.Required)
                throw new ArgumentException($"{name} is missing, expected {when?.Expected ?? Expected(call, default)}.", name);
            return;
        }

        if (!allowed)
            throw new ArgumentException($"{name} is given, expected {when!.Expected}.", name);
        ReadOnlySpan<int> shape = tensor.Shape.AsSpan();
        bool fits = shape.Length == _axes.Length;
        for (int i = 0; fits && i < shape.Length; i++)
            fits = call.Fits(_axes[i], shape[i]);
        if (!fits)
            throw new ArgumentException($"{name} has shape {tensor.Shape}, expected {Expected(call, shape)}.", name);
        Require.OnDevice(tensor, call.Device ??= tensor.Device, name);
        call.Uses?.Add(tensor.Storage);
    }

    // The lengths, those that no earlier tensor has set taken from this one; the names where it has another number of axes.
    private string Expected(in OperationCall call, ReadOnlySpan<int> shape)
    {
        var lengths = new int[_axes.Length];
        for (int i = 0; i < lengths.Length; i++)
        {
            lengths[i] = call.Length(_axes[i]);
            if (lengths[i] < 0 && shape.Length == lengths.Length)
                lengths[i] = shape[i];
        }

        return lengths.Contains(-1) ? $"[{axes.Replace(" ", ", ", StringComparison.Ordinal)}]" : $"[{string.Join(", ", lengths)}]";
    }
}

/// <summary>A tensor with its gradient, named d and the tensor's name, which has its shape and a record of its own.</summary>
internal sealed class TensorRow<TRecord, TGradients>(
    string name, string axes, TensorRole role, TensorGetter<TRecord> get, TensorSetter<TRecord> with,
    TensorGetter<TGradients> getGradient, TensorSetter<TGradients> withGradient, TensorCondition? when = null,
    TensorRole gradientRole = TensorRole.Optional)
    : TensorRow<TRecord>(name, axes, role, get, with, when)
{
    public TensorRow<TGradients> Gradient { get; } = new("d" + name, axes, gradientRole, getGradient, withGradient, when);
}

/// <summary>
/// The tensors of a record: the one place that says their names, shapes and roles. Checks, the tape, cases and tests are loops over it.
/// </summary>
internal class TensorList<TRecord>
{
    /// <param name="axes">The names of the operation's axes, the same for all of its lists.</param>
    /// <param name="rows">The tensors. The first with an axis sets its length.</param>
    public TensorList(string axes, params TensorRow<TRecord>[] rows)
    {
        Axes = axes.Split(' ');
        Rows = rows;
        foreach (TensorRow<TRecord> row in rows)
            row.Place(Axes);
    }

    public string[] Axes { get; }

    public TensorRow<TRecord>[] Rows { get; }

    /// <summary>Checks all tensors of a record.</summary>
    /// <exception cref="ArgumentException">One is given or missing, or has a shape or device, that it should not; named.</exception>
    public void Validate(in TRecord record, ref OperationCall call)
    {
        foreach (TensorRow<TRecord> row in Rows)
            row.Validate(row.Get(record), ref call);
    }

    /// <summary>A record of new tensors: those that are required, or all that are allowed.</summary>
    public TRecord Make(in OperationCall call, Func<Shape, Tensor> place, bool optional = true)
    {
        TRecord record = default!;
        foreach (TensorRow<TRecord> row in Rows)
        {
            if (row.IsAllowed(call.Held) && (optional || row.Role == TensorRole.Required))
                record = row.With(record, place(row.Shape(call)));
        }

        return record;
    }

    /// <summary>A record of these tensors, in the list's order.</summary>
    public TRecord Of<T>(ReadOnlySpan<T> tensors, Func<T, Tensor?> value)
    {
        TRecord record = default!;
        for (int i = 0; i < Rows.Length; i++)
            record = Rows[i].With(record, value(tensors[i]));
        return record;
    }
}

/// <summary>The tensors of a record with those of their gradients'.</summary>
internal sealed class TensorList<TRecord, TGradients>(string axes, params TensorRow<TRecord, TGradients>[] rows)
    : TensorList<TRecord>(axes, rows)
{
    public TensorList<TGradients> Gradients { get; } = new(axes, [.. rows.Select(r => r.Gradient)]);

    /// <summary>Checks gradients of inputs: each is of an input that is given or <see cref="TensorRole.State"/>, with its shape.</summary>
    /// <exception cref="ArgumentException">One is not; named.</exception>
    public void ValidateGradients(in TRecord inputs, in TGradients gradients, ref OperationCall call)
    {
        for (int i = 0; i < Rows.Length; i++)
        {
            TensorRow<TGradients> row = Gradients.Rows[i];
            if (row.Get(gradients) is not null && Rows[i].Role != TensorRole.State && Rows[i].Get(inputs) is null)
                throw new ArgumentException($"{row.Name} is asked for, but its input is not given.", row.Name);
        }

        Gradients.Validate(gradients, ref call);
    }
}
