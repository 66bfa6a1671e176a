namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>adam</c> (L2) and <c>adamw</c> (decoupled decay), docs/specification.md, section 3: w [r,c], g [steps,r,c], moments from
/// zero; settings lr, beta1, beta2, eps, weight_decay and those of <see cref="Settings"/>. Gives w, m and v after the last step;
/// with clear_gradient also g, with measure change [steps,2].
/// </summary>
internal sealed class AdamOperation(string name, bool decoupled) : Operation
{
    public override string Name => name;

    public override void Run(OperationRun run)
    {
        Tensor w = run.Input("w", "r c");
        Tensor gradients = run.Input("g", "steps r c");
        AdamSettings settings = Settings(run, decoupled);
        bool decays = run.OptionalChoice("decays", ("true", true), ("false", false)), measure = run.Flag("measure");

        float[] all = gradients.ToArray();
        int steps = run.Axis("steps");
        float[] changes = new float[2 * steps];
        Tensor g = run.Empty(w.Shape), m = Moment(run, w, settings), v = Moment(run, w, settings);
        for (int step = 0; step < steps; step++)
        {
            g.CopyFrom(all.AsSpan(step * w.Count, w.Count));
            var change = new CommitChange[measure ? 1 : 0];
            AdamCommit.Apply([new AdamTensors(w, g, m, v, decays)], [settings with { Step = step + 1 }], change);
            if (measure)
                (changes[2 * step], changes[2 * step + 1]) = ((float)change[0].Change, (float)change[0].Value);
        }

        run.Output("w", w);
        GiveMoments(run, w, m, v, settings);
        if (settings.ClearGradient)
            run.Output("g", g);
        if (measure)
            run.Output("change", [steps, 2], changes);
    }

    /// <summary>
    /// What steps of Adam share. Optional are gradient_scale (1), clear_gradient (false), moments float32 or bfloat16, and seed, of
    /// the random numbers by which bfloat16 moments are rounded.
    /// </summary>
    public static AdamSettings Settings(OperationRun run, bool decoupled) => new(
        run.Number("lr"), run.PreciseNumber("beta1"), run.PreciseNumber("beta2"), run.Number("eps"), run.Number("weight_decay"),
        decoupled, Step: 1, run.OptionalNumber("gradient_scale", 1))
    {
        ClearGradient = run.Flag("clear_gradient"),
        Moments = run.OptionalChoice("moments", ("float32", MomentPrecision.Float32), ("bfloat16", MomentPrecision.BFloat16)),
        Seed = run.OptionalSeed("seed"),
    };

    /// <summary>A moment of a weight, zero.</summary>
    public static Tensor Moment(OperationRun run, Tensor w, AdamSettings settings) =>
        run.Zeros(settings.Moments == MomentPrecision.BFloat16 ? [BFloat16.PackedCount(w.Count)] : w.Shape);

    /// <summary>The moments as numbers, m and v, of the weight's shape.</summary>
    public static void GiveMoments(OperationRun run, Tensor w, Tensor m, Tensor v, AdamSettings settings)
    {
        bool packed = settings.Moments == MomentPrecision.BFloat16;
        run.Output("m", w.Shape, packed ? BFloat16.Unpack(m, w.Count) : m.ToArray());
        run.Output("v", w.Shape, packed ? BFloat16.Unpack(v, w.Count) : v.ToArray());
    }
}
