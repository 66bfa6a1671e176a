using NestedLearning.Operations;

namespace NestedLearning;

public abstract unsafe partial class HostBackend
{
    /// <inheritdoc/>
    public sealed override void Ridge(Tensor x, Tensor y, Tensor factor, Tensor w, Tensor wLow, double forget, Tensor? o)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(y);
        ArgumentNullException.ThrowIfNull(factor);
        ArgumentNullException.ThrowIfNull(w);
        ArgumentNullException.ThrowIfNull(wLow);
        int samples = x.Shape[0], padded = RidgeLayout.Padded(x.Shape[1]);
        double* d = (double*)factor.Pointer;
        var run = new RidgeRun
        {
            Features = x.Shape[1], Padded = padded, Outputs = y.Shape[1], Rows = d + padded, W = w.Pointer, WLow = wLow.Pointer,
        };
        using var scratch = new RidgeScratch(ref run, Math.Min(samples, RidgeLayout.Group));
        var plan = new RidgePlan();
        for (int first = 0; first < samples; first += RidgeLayout.Group)
        {
            run.Samples = Math.Min(RidgeLayout.Group, samples - first);
            ReadKeys(x.Pointer + (nint)first * run.Features, run);
            RidgeRead(run);
            var now = new Span<double>(scratch.D, padded);
            new Span<double>(d, padded).CopyTo(now);
            int numbers = padded * run.Samples, outputs = run.Outputs * run.Samples;
            bool finite = plan.Features(run.Samples, forget, new Span<double>(run.F, numbers), new Span<double>(run.V, numbers),
                now[..run.Features]);
            var answers = new Span<double>(run.O, outputs);
            var targets = new ReadOnlySpan<float>(y.Pointer + (nint)first * run.Outputs, outputs);
            if (!plan.Outputs(run.Samples, answers, targets, new Span<double>(run.E, outputs)) || !finite)
                throw RidgePlan.TooLarge(first);
            now.CopyTo(new Span<double>(d, padded));
            if (o is not null)
            {
                Span<float> written = new Span<float>(o.Pointer + (nint)first * run.Outputs, outputs);
                for (int i = 0; i < outputs; i++)
                    written[i] = Subnormals.Flush((float)answers[i]);
            }

            RidgeWrite(run);
        }
    }

    /// <summary>F ← L X and O ← X W of a group.</summary>
    private protected abstract void RidgeRead(in RidgeRun run);

    /// <summary>L and W after a group, of c in F, of V and E.</summary>
    private protected abstract void RidgeWrite(in RidgeRun run);

    // x in float64, with zeros up to whole panels. The rows beyond D have f and v of zero.
    private static void ReadKeys(float* keys, in RidgeRun run)
    {
        for (int s = 0; s < run.Samples; s++)
        {
            double* row = run.X + (nint)s * run.Padded;
            for (int i = 0; i < run.Features; i++)
                row[i] = Subnormals.Flush(keys[(nint)s * run.Features + i]);
            for (int i = run.Features; i < run.Padded; i++)
                row[i] = 0;
        }

        new Span<double>(run.V + (nint)run.Features * run.Samples, (run.Padded - run.Features) * run.Samples).Clear();
    }
}
