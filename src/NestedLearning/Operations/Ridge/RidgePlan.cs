namespace NestedLearning.Operations;

/// <summary>
/// The part of a ridge memory's update that goes from feature to feature, on the host for every backend: a few numbers for each feature
/// and sample. With P = Lᵀ diag(d) L and f = L x of a sample (Bierman's and Thornton's update, a feature j at a time)
/// <code>
/// v_j = d_j f_j    α_j = α_{j−1} + f_j v_j    d_j ← d_j α_{j−1}/(α_j λ)    α_{−1} = λ
/// c_j = f_j/α_{j−1}    K ← 0;  for each row j:  L_j ← L_j − c_j K,  K ← K + v_j L_j (before)    g = K/α
/// </code>
/// Of a group of samples f is that of the factor before them all. What the sample r before it makes of the f of a sample s is known
/// without the rows: f_j ← f_j − c_j κ_j with κ_j the product of x_s and K before row j, κ ← κ + v_j f_j. So the rows are gone through
/// once to read and once to write, for all of the group; after the last row κ/α = x_s g_r is what sample r's error changes of x_s W.
/// </summary>
internal sealed class RidgePlan
{
    private const int Group = RidgeLayout.Group;
    private readonly double[] _alpha = new double[Group], _crossed = new double[Group * Group];

    /// <summary>Plans a group.</summary>
    /// <param name="samples">n.</param>
    /// <param name="forget">λ.</param>
    /// <param name="f">[D, n]: the factor's answers to each sample; c afterwards.</param>
    /// <param name="v">[D, n], written.</param>
    /// <param name="d">[D], in and out.</param>
    /// <returns>Whether all is finite.</returns>
    public bool Features(int samples, double forget, Span<double> f, Span<double> v, Span<double> d)
    {
        _alpha.AsSpan().Fill(forget);
        _crossed.AsSpan().Clear();
        for (int j = 0; j < d.Length; j++)
        {
            Span<double> c = f.Slice(j * samples, samples), write = v.Slice(j * samples, samples);
            double now = d[j];
            for (int r = 0; r < samples; r++)
            {
                double answer = c[r], before = _alpha[r], written = now * answer, after = before + answer * written;
                double change = answer / before;
                Span<double> crossed = _crossed.AsSpan(r * Group, Group);
                for (int s = r + 1; s < samples; s++)
                {
                    double other = c[s];
                    c[s] = other - change * crossed[s];
                    crossed[s] += written * other;
                }

                (c[r], write[r], _alpha[r]) = (change, written, after);
                now = RidgeLayout.Bounded(now * (before / (after * forget)));
            }

            d[j] = now;
        }

        for (int r = 0; r < samples; r++)
        {
            if (!double.IsFinite(_alpha[r]))
                return false;
        }

        return true;
    }

    /// <summary>Makes errors of what the group is answered with.</summary>
    /// <param name="samples">n.</param>
    /// <param name="o">[n, V]: x W with the W before them all; afterwards what each was answered with.</param>
    /// <param name="y">[n, V].</param>
    /// <param name="e">[n, V], written: (y − o)/α, so that W ← W + K e.</param>
    /// <returns>Whether all is finite.</returns>
    public bool Outputs(int samples, Span<double> o, ReadOnlySpan<float> y, Span<double> e)
    {
        int outputs = samples == 0 ? 0 : o.Length / samples;
        bool finite = true;
        for (int s = 0; s < samples; s++)
        {
            Span<double> answer = o.Slice(s * outputs, outputs), error = e.Slice(s * outputs, outputs);
            for (int r = 0; r < s; r++)
            {
                double weight = _crossed[r * Group + s];
                ReadOnlySpan<double> earlier = e.Slice(r * outputs, outputs);
                for (int i = 0; i < outputs; i++)
                    answer[i] += weight * earlier[i];
            }

            ReadOnlySpan<float> target = y.Slice(s * outputs, outputs);
            for (int i = 0; i < outputs; i++)
            {
                error[i] = (Subnormals.Flush(target[i]) - answer[i]) / _alpha[s];
                finite &= double.IsFinite(error[i]);
            }
        }

        return finite;
    }

    /// <summary>The error of a group that left float64's range.</summary>
    public static NotFiniteNumberException TooLarge(int learned) =>
        new($"The numbers of a ridge memory grew beyond float64: keys or targets are too large. {learned} samples were learned.");
}
