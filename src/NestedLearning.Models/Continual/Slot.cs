namespace NestedLearning.Models.Continual;

/// <summary>
/// A copy of a live model's weights, frozen, with a text of its time. Its levels have no optimizer memory: they never commit.
/// </summary>
internal sealed class Slot : IDisposable
{
    private Slot(SequenceModel model, byte[] text, long committed) => (Model, Text, Committed) = (model, text, committed);

    public SequenceModel Model { get; }

    /// <summary>What was read before the commit.</summary>
    public byte[] Text { get; }

    /// <summary>The position of the stream at the commit.</summary>
    public long Committed { get; }

    /// <summary>The live model's weights as they are now.</summary>
    public static Slot Of(SequenceModel live, byte[] text, long committed)
    {
        var model = new SequenceModel(live.Device, Configuration(live.Configuration));
        foreach ((Parameter own, Parameter of) in model.Levels.Parameters.Zip(live.Levels.Parameters))
            own.Value.CopyFrom(of.Value);
        return new Slot(model, text, committed);
    }

    /// <summary>‖θ − θ'‖ over all weights; of nothing else ‖θ‖.</summary>
    public static double Distance(SequenceModel model, SequenceModel? other)
    {
        double sum = 0;
        using IEnumerator<Parameter>? others = other is null ? null : other.Levels.Parameters.GetEnumerator();
        foreach (Parameter parameter in model.Levels.Parameters)
        {
            using Tensor difference = parameter.Value.Clone();
            if (others is not null && others.MoveNext())
                Elementwise.AddScaled(-1, others.Current.Value, difference);
            sum += difference.Device.Backend.SumOfSquares(difference);
        }

        return Math.Sqrt(sum);
    }

    public void Save(SafetensorsFile file, string prefix)
    {
        file.Add(prefix + "text", SlotLearner.Packed(Text));
        file.Add(prefix + "commit", [Committed, Text.Length]);
        foreach (Parameter parameter in Model.Levels.Parameters)
            file.Add($"{prefix}value.{parameter.Name}", parameter.Value);
    }

    /// <exception cref="CheckpointException">Something is missing or does not fit.</exception>
    public static Slot Load(SequenceModel live, SafetensorsFile file, string prefix)
    {
        ReadOnlySpan<long> commit = file.Integers(prefix + "commit", 2);
        if (commit[0] < 0 || commit[1] < 1)
            throw new CheckpointException($"'{prefix}commit' is [{commit[0]}, {commit[1]}], expected a position and a text's length.");
        long position = commit[0];
        byte[] text = SlotLearner.Unpacked(file, prefix + "text", commit[1]);
        // A damaged file cannot ask for more memory than it has numbers.
        var model = new SequenceModel(live.Device, Configuration(live.Configuration),
            (name, shape) => file.Floats($"{prefix}value.{name}", shape));
        var slot = new Slot(model, text, position);
        try
        {
            foreach (Parameter parameter in slot.Model.Levels.Parameters)
                parameter.Value.CopyFrom(file.Floats($"{prefix}value.{parameter.Name}", parameter.Value.Shape));
            return slot;
        }
        catch
        {
            slot.Dispose();
            throw;
        }
    }

    public void Dispose() => Model.Dispose();

    private static ModelConfiguration Configuration(ModelConfiguration live) =>
        live with { Levels = [.. live.Levels.Select(l => l with { Optimizer = new GradientDescent() })] };
}
