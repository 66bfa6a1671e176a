using System.Buffers;
using System.Numerics.Tensors;

namespace NestedLearning.Models;

/// <summary>
/// Draws tokens from logits. The same seed and index draw the same token from the same logits, whatever was drawn before.
/// </summary>
public sealed record Sampler
{
    /// <summary>What logits are divided by; 0 takes the most probable token, the first of equal ones.</summary>
    public float Temperature { get; init; } = 1;

    /// <summary>Only so many of the most probable tokens are drawn from; 0 is all.</summary>
    public int Top { get; init; }

    /// <summary>Of the random numbers.</summary>
    public ulong Seed { get; init; }

    /// <summary>p_i = e^(logit_i / temperature) / Σ, over the <see cref="Top"/> most probable tokens.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range, or a logit is NaN or +∞, or all are −∞.</exception>
    public double[] Distribution(ReadOnlySpan<float> logits)
    {
        double[] p = new double[logits.Length];
        Distribution(logits, p);
        return p;
    }

    /// <summary>A token drawn with number <paramref name="index"/> of the random numbers.</summary>
    /// <exception cref="ArgumentException">See <see cref="Distribution(ReadOnlySpan{float})"/>.</exception>
    public int Draw(ReadOnlySpan<float> logits, ulong index)
    {
        double[] rented = ArrayPool<double>.Shared.Rent(logits.Length);
        try
        {
            Span<double> p = rented.AsSpan(0, logits.Length);
            Distribution(logits, p);
            double left = new CounterRandom(Seed).Uniform(index);
            int last = 0;
            for (int i = 0; i < p.Length; i++)
            {
                if (p[i] == 0)
                    continue;
                last = i;
                left -= p[i];
                if (left < 0)
                    return i;
            }

            // Rounding may leave a little.
            return last;
        }
        finally
        {
            ArrayPool<double>.Shared.Return(rented);
        }
    }

    /// <summary>Checks every setting.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range.</exception>
    public void Validate()
    {
        if (!(Temperature >= 0 && float.IsFinite(Temperature)))
            throw new ArgumentException($"{nameof(Temperature)} is {Temperature}, expected a finite number of at least 0.");
        if (Top < 0)
            throw new ArgumentException($"{nameof(Top)} is {Top}, expected at least 0.");
    }

    private void Distribution(ReadOnlySpan<float> logits, Span<double> p)
    {
        Validate();
        int best = MostProbable(logits);
        if (Temperature == 0)
        {
            p.Clear();
            p[best] = 1;
            return;
        }

        for (int i = 0; i < p.Length; i++)
            p[i] = ((double)logits[i] - logits[best]) / Temperature;
        if (Top > 0 && Top < p.Length)
        {
            float[] values = logits.ToArray();
            foreach (int i in Enumerable.Range(0, p.Length).OrderByDescending(i => values[i]).Skip(Top))
                p[i] = double.NegativeInfinity;
        }

        TensorPrimitives.Exp<double>(p, p);
        double sum = 0;
        foreach (double e in p)
            sum += e;
        TensorPrimitives.Divide(p, sum, p);
    }

    private static int MostProbable(ReadOnlySpan<float> logits)
    {
        int best = -1;
        for (int i = 0; i < logits.Length; i++)
        {
            if (float.IsNaN(logits[i]) || float.IsPositiveInfinity(logits[i]))
                throw new ArgumentException($"Logit {i} is {logits[i]}, expected a number below +∞.", nameof(logits));
            if (!float.IsNegativeInfinity(logits[i]) && (best < 0 || logits[i] > logits[best]))
                best = i;
        }

        return best >= 0 ? best : throw new ArgumentException($"None of {logits.Length} logits is above −∞.", nameof(logits));
    }
}
