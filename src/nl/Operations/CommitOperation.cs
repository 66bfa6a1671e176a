namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>commit</c>, docs/specification.md, section 4: levels ℓ with theta.ℓ [n], error terms err.ℓ [T,n] and learning rates eta [T,L];
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
        var tracks = new Track[chunks.Length];
        for (int level = 0; level < tracks.Length; level++)
        {
            Tensor theta = run.Input($"theta.{level}", $"n{level}");
            tracks[level] = new Track(
                new Parameter($"theta.{level}", theta.Clone()),
                run.Input($"err.{level}", $"T n{level}").ToArray(),
                run.Empty(theta.Shape),
                new float[time * theta.Count]);
        }

        // The error terms come with their own learning rates, so the levels' are 1.
        using var levels = new LevelSystem(tracks.Select((track, level) =>
            new Level($"level {level}", chunks[level], learningRate: 1, new GradientDescent(), [track.Theta])));
        for (int t = 0; t < time; t++)
        {
            for (int level = 0; level < tracks.Length; level++)
            {
                Track track = tracks[level];
                track.Error.CopyFrom(track.At(track.Errors, t));
                track.Theta.AddError(track.Error, eta[t * tracks.Length + level]);
            }

            levels.Advance(1);
            foreach (Track track in tracks)
                track.Theta.Value.CopyTo(track.At(track.After, t));
        }

        for (int level = 0; level < tracks.Length; level++)
            run.Output($"theta.{level}", [time, tracks[level].Error.Count], tracks[level].After);
    }

    /// <summary>One level: its parameter, its error terms [T,n], one of them on the device, and θ after each step [T,n].</summary>
    private sealed record Track(Parameter Theta, float[] Errors, Tensor Error, float[] After)
    {
        public Span<float> At(float[] rows, int t) => rows.AsSpan(t * Error.Count, Error.Count);
    }
}
