namespace NestedLearning.Models.Continual;

/// <summary>
/// How well each slot predicts each slot's own text: what decides which of too many goes. Slots are frozen, so that a loss is
/// measured once.
/// </summary>
internal sealed class Redundancy
{
    // ℓ_j(text_i) at [i][j].
    private List<List<double>> _losses = [];

    public Redundancy Clone() => new() { _losses = [.. _losses.Select(l => l.ToList())] };

    /// <summary>Measures another slot against those that are there. Changes nothing: <see cref="Add"/> does.</summary>
    /// <returns>ℓ of the others on the slot's text, and ℓ of the slot on theirs and, last, on its own.</returns>
    public static (double[] OfOthers, double[] OfSlot) Measure(IReadOnlyList<Slot> others, Slot slot) =>
        ([.. others.Select(o => o.Model.MeanLoss(slot.Text))], [.. others.Append(slot).Select(o => slot.Model.MeanLoss(o.Text))]);

    /// <summary>Takes over what <see cref="Measure"/> returned.</summary>
    public void Add((double[] OfOthers, double[] OfSlot) losses)
    {
        for (int i = 0; i < _losses.Count; i++)
            _losses[i].Add(losses.OfSlot[i]);
        _losses.Add([.. losses.OfOthers, losses.OfSlot[^1]]);
    }

    /// <summary>argmin_i ( min_{j≠i} ℓ_j(text_i) − ℓ_i(text_i) ), of equals the oldest.</summary>
    public int Most()
    {
        int most = 0;
        double least = double.PositiveInfinity;
        for (int i = 0; i < _losses.Count; i++)
        {
            double others = double.PositiveInfinity;
            for (int j = 0; j < _losses.Count; j++)
                others = j == i ? others : Math.Min(others, _losses[i][j]);
            if (others - _losses[i][i] < least)
                (least, most) = (others - _losses[i][i], i);
        }

        return most;
    }

    public void Remove(int slot)
    {
        _losses.RemoveAt(slot);
        _losses.ForEach(l => l.RemoveAt(slot));
    }

    public void Save(SafetensorsFile file, string name) =>
        file.Add(name, [.. _losses.SelectMany(l => l).Select(BitConverter.DoubleToInt64Bits)]);

    /// <exception cref="CheckpointException">It is missing or of another size.</exception>
    public static Redundancy Load(SafetensorsFile file, string name, int slots) => new()
    {
        _losses =
        [
            .. file.Integers(name, slots * slots).ToArray().Select(BitConverter.Int64BitsToDouble).Chunk(Math.Max(1, slots))
                .Select(l => l.ToList()),
        ],
    };
}
