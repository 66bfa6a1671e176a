namespace NestedLearning.Models.Continual;

/// <summary>
/// Weights that track the best of k members (docs/specification.md, section 8; fixed share, Herbster and Warmuth 1998):
/// <code>
/// p = Σ w_i p_i      v_i = w_i p_i / p      w_i ← (1 − s) v_i + s / k
/// </code>
/// A member that sleeps is taken to predict what the mixture predicts, so that p is the mean over those awake and v_i = w_i
/// for those asleep: the bound of the section holds with the mixture's own loss as theirs (specialists, Freund et al. 1997; with
/// this reading Chernov and Vovk 2009).
/// </summary>
internal sealed class FixedShare
{
    private readonly double _share;
    private double[] _weights;

    /// <param name="share">s, above 0 and at most 1.</param>
    /// <param name="members">k, at least 1; all begin alike.</param>
    public FixedShare(double share, int members)
    {
        _share = share;
        _weights = new double[members];
        Array.Fill(_weights, 1.0 / members);
    }

    private FixedShare(double share, double[] weights) => (_share, _weights) = (share, weights);

    /// <summary>w; they sum to one.</summary>
    public ReadOnlySpan<double> Weights => _weights;

    public FixedShare Clone() => new(_share, (double[])_weights.Clone());

    /// <summary>The mixture's loss −ln p of an element, after which the weights are the next one's.</summary>
    /// <param name="losses">−ln p_i of each member, finite; NaN for one that sleeps. One at least is awake.</param>
    public double Step(ReadOnlySpan<double> losses)
    {
        double least = double.PositiveInfinity;
        foreach (double loss in losses)
        {
            // NaN is not below anything.
            if (loss < least)
                least = loss;
        }

        double awake = 0, likely = 0;
        for (int i = 0; i < losses.Length; i++)
        {
            if (double.IsNaN(losses[i]))
                continue;
            awake += _weights[i];
            likely += _weights[i] * Math.Exp(least - losses[i]);
        }

        double mixed = likely / awake;
        for (int i = 0; i < losses.Length; i++)
        {
            double v = double.IsNaN(losses[i]) ? _weights[i] : _weights[i] * Math.Exp(least - losses[i]) / mixed;
            _weights[i] = (1 - _share) * v + _share / _weights.Length;
        }

        return least - Math.Log(mixed);
    }

    /// <summary>Another member at the end that begins as a copy of one: they halve its weight.</summary>
    public void Split(int member)
    {
        _weights[member] /= 2;
        _weights = [.. _weights, _weights[member]];
    }

    /// <summary>Takes a member out; another one inherits its weight.</summary>
    public void Remove(int member, int heir)
    {
        _weights[heir] += _weights[member];
        _weights = [.. _weights[..member], .. _weights[(member + 1)..]];
    }

    /// <summary>Weights as they were saved.</summary>
    /// <exception cref="CheckpointException">They are not so many, not in (0, 1], or do not sum to one.</exception>
    public static FixedShare Load(double share, ReadOnlySpan<long> bits, int members, string name)
    {
        double[] weights = new double[bits.Length];
        double sum = 0;
        for (int i = 0; i < bits.Length; i++)
        {
            weights[i] = BitConverter.Int64BitsToDouble(bits[i]);
            if (!(weights[i] is > 0 and <= 1 + 1e-9))
                throw new CheckpointException($"'{name}' has weight {weights[i]}, expected above 0 and at most 1.");
            sum += weights[i];
        }

        if (weights.Length != members || Math.Abs(sum - 1) > 1e-6)
            throw new CheckpointException($"'{name}' has {weights.Length} weights whose sum is {sum}, expected {members} whose sum is 1.");
        return new FixedShare(share, weights);
    }

    /// <summary>The weights' exact bits.</summary>
    public long[] Save() => Array.ConvertAll(_weights, BitConverter.DoubleToInt64Bits);
}
