namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>commit</c>, spec section 4: levels ℓ with theta.ℓ [n], error terms err.ℓ [T,n] and learning rates eta [T,L];
/// setting chunks, the C of each level. Gives theta.ℓ [T,n] after each step; at a step where a level does not commit it
/// is what it was.
/// </summary>
internal sealed class CommitOperation : Operation
{
    public override string Name => "commit";

    public override void Run(OperationRun run)
    {
        int[] chunks = run.Counts("chunks");
        float[] eta = run.Input("eta", $"T {chunks.Length}").ToArray();
        int time = run.Axis("T");
        for (int level = 0; level < chunks.Length; level++)
        {
            Tensor theta = run.Input($"theta.{level}", $"n{level}");
            float[] errors = run.Input($"err.{level}", $"T n{level}").ToArray();
            int length = theta.Count;
            Tensor error = run.Empty(theta.Shape), pending = run.Zeros(theta.Shape);
            float[] after = new float[time * length];
            for (int t = 0; t < time; t++)
            {
                error.CopyFrom(errors.AsSpan(t * length, length));
                Dense.AddScaled(eta[t * chunks.Length + level], error, pending);
                if ((t + 1) % chunks[level] == 0)
                {
                    Dense.AddScaled(-1, pending, theta);
                    pending.Fill(0);
                }

                theta.CopyTo(after.AsSpan(t * length, length));
            }

            run.Output($"theta.{level}", [time, length], after);
        }
    }
}
