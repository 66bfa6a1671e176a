namespace NestedLearning.Operations;

/// <summary>
/// A two-layer memory that learns its keys' targets while it reads (docs/specification.md, section 2, NL 89, 91; Titans 3.2 with one hidden
/// layer). See <see cref="DeepMemoryInputs"/> for the equations and shapes.
/// </summary>
public static class DeepMemory
{
    /// <summary>
    /// Runs the memory over whole sequences. A sequence may begin and end inside a chunk: cut anywhere, with the final state
    /// and <see cref="DeepMemorySettings.NextPhase"/> carried over, it gives the same results, to rounding.
    /// </summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a tensor is given or missing against its documentation. Nothing was written.</exception>
    public static void Forward(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemoryOutputs outputs)
    {
        Validate(inputs, settings);
        Shape w1 = Shape1(inputs), w2 = Shape2(inputs);
        Require.SameShape(outputs.O, inputs.Q.Shape, "o");
        Require.SameShape(outputs.W1, w1, "w1");
        Require.SameShape(outputs.W2, w2, "w2");
        Require.Exactly(outputs.P1, inputs.Mu is not null, w1, "p1", "mu is given");
        Require.Exactly(outputs.P2, inputs.Mu is not null, w2, "p2", "mu is given");
        Require.OptionalShape(outputs.ChunkStart1, w1, "chunk_start1");
        Require.OptionalShape(outputs.ChunkStart2, w2, "chunk_start2");
        if (outputs.Saved != default)
            ValidateSaved(inputs, settings, outputs.Saved);
        Require.OnDevice(inputs.Q.Device, (outputs.O, "o"), (outputs.W1, "w1"), (outputs.W2, "w2"), (outputs.P1, "p1"), (outputs.P2, "p2"),
            (outputs.ChunkStart1, "chunk_start1"), (outputs.ChunkStart2, "chunk_start2"));
        inputs.Q.Device.Backend.DeepMemoryForward(inputs, settings, outputs);
    }

    /// <summary>The gradient of <see cref="Forward"/> to every input that is asked for, through every write.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a tensor is given or missing against its documentation. Nothing was written.</exception>
    public static void Backward(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemorySaved saved, in DeepMemoryOutputGradients upstream, in DeepMemoryGradients gradients)
    {
        Validate(inputs, settings);
        ValidateSaved(inputs, settings, saved);
        Shape w1 = Shape1(inputs), w2 = Shape2(inputs);
        Require.OptionalShape(upstream.O, inputs.Q.Shape, "do");
        Require.OptionalShape(upstream.W1, w1, "dw1");
        Require.OptionalShape(upstream.W2, w2, "dw2");
        Require.AtMost(upstream.P1, inputs.Mu is not null, w1, "dp1", "mu is given");
        Require.AtMost(upstream.P2, inputs.Mu is not null, w2, "dp2", "mu is given");
        Require.OptionalShape(upstream.ChunkStart1, w1, "dchunk_start1");
        Require.OptionalShape(upstream.ChunkStart2, w2, "dchunk_start2");
        Require.Like(gradients.Q, inputs.Q, "dq");
        Require.Like(gradients.K, inputs.K, "dk");
        Require.Like(gradients.V, inputs.V, "dv");
        Require.Like(gradients.LogAlpha, inputs.LogAlpha, "dlog_alpha");
        Require.Like(gradients.Theta, inputs.Theta, "dtheta");
        Require.Like(gradients.Erase, inputs.Erase, "derase");
        Require.Like(gradients.Mu, inputs.Mu, "dmu");
        Require.Like(gradients.W1, inputs.W1, "dw1");
        Require.Like(gradients.W2, inputs.W2, "dw2");
        Require.AtMost(gradients.P1, inputs.Mu is not null, w1, "dp1", "mu is given");
        Require.AtMost(gradients.P2, inputs.Mu is not null, w2, "dp2", "mu is given");
        Require.Like(gradients.ChunkStart1, inputs.ChunkStart1, "dchunk_start1");
        Require.Like(gradients.ChunkStart2, inputs.ChunkStart2, "dchunk_start2");
        Require.OnDevice(inputs.Q.Device, (upstream.O, "do"), (upstream.W1, "dw1"), (upstream.W2, "dw2"), (upstream.P1, "dp1"), (upstream.P2, "dp2"),
            (upstream.ChunkStart1, "dchunk_start1"), (upstream.ChunkStart2, "dchunk_start2"),
            (gradients.Q, "dq"), (gradients.K, "dk"), (gradients.V, "dv"), (gradients.LogAlpha, "dlog_alpha"), (gradients.Theta, "dtheta"),
            (gradients.Erase, "derase"), (gradients.Mu, "dmu"), (gradients.W1, "dw1"), (gradients.W2, "dw2"), (gradients.P1, "dp1"), (gradients.P2, "dp2"),
            (gradients.ChunkStart1, "dchunk_start1"), (gradients.ChunkStart2, "dchunk_start2"));
        inputs.Q.Device.Backend.DeepMemoryBackward(inputs, settings, saved, upstream, gradients);
    }

    /// <summary>The shape of W1 and its momentum: [B, H, N, D].</summary>
    public static Shape Shape1(in DeepMemoryInputs inputs) => [inputs.Batch, inputs.Heads, inputs.Hidden, inputs.Dim];

    /// <summary>The shape of W2 and its momentum: [B, H, D, N].</summary>
    public static Shape Shape2(in DeepMemoryInputs inputs) => [inputs.Batch, inputs.Heads, inputs.Dim, inputs.Hidden];

    /// <summary>The shape of W1 and its momentum saved for a backward pass: [B, H, chunks, N, D].</summary>
    public static Shape SavedShape1(in DeepMemoryInputs inputs, DeepMemorySettings settings) =>
        [inputs.Batch, inputs.Heads, settings.Chunks(inputs.Time), inputs.Hidden, inputs.Dim];

    /// <summary>The shape of W2 and its momentum saved for a backward pass: [B, H, chunks, D, N].</summary>
    public static Shape SavedShape2(in DeepMemoryInputs inputs, DeepMemorySettings settings) =>
        [inputs.Batch, inputs.Heads, settings.Chunks(inputs.Time), inputs.Dim, inputs.Hidden];

    private static void Validate(in DeepMemoryInputs inputs, DeepMemorySettings settings)
    {
        Require.Rank(inputs.Q, 4, "[B, T, H, D]", "q");
        ChunkPlan.Validate(settings.Plan(inputs.Time));
        Require.Positive(inputs.Dim, "D");
        Require.SameShape(inputs.K, inputs.Q.Shape, "k");
        Require.SameShape(inputs.V, inputs.Q.Shape, "v");
        Shape gates = [inputs.Batch, inputs.Time, inputs.Heads];
        Require.OptionalShape(inputs.LogAlpha, gates, "log_alpha");
        Require.OptionalShape(inputs.Theta, gates, "theta");
        Require.OptionalShape(inputs.Erase, gates, "erase");
        Require.OptionalShape(inputs.Mu, gates, "mu");
        Require.Rank(inputs.W2, 4, "[B, H, D, N]", "w2");
        Require.Positive(inputs.Hidden, "N");
        Shape w1 = Shape1(inputs), w2 = Shape2(inputs);
        Require.SameShape(inputs.W2, w2, "w2");
        Require.SameShape(inputs.W1, w1, "w1");
        Require.AtMost(inputs.P1, inputs.Mu is not null, w1, "p1", "mu is given");
        Require.AtMost(inputs.P2, inputs.Mu is not null, w2, "p2", "mu is given");
        Require.Exactly(inputs.ChunkStart1, settings.Phase > 0, w1, "chunk_start1", "the phase is not 0");
        Require.Exactly(inputs.ChunkStart2, settings.Phase > 0, w2, "chunk_start2", "the phase is not 0");
        Require.OnDevice(inputs.Q.Device, (inputs.K, "k"), (inputs.V, "v"), (inputs.LogAlpha, "log_alpha"), (inputs.Theta, "theta"), (inputs.Erase, "erase"), (inputs.Mu, "mu"),
            (inputs.W1, "w1"), (inputs.W2, "w2"), (inputs.P1, "p1"), (inputs.P2, "p2"), (inputs.ChunkStart1, "chunk_start1"), (inputs.ChunkStart2, "chunk_start2"));
    }

    private static void ValidateSaved(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemorySaved saved)
    {
        Shape saved1 = SavedShape1(inputs, settings), saved2 = SavedShape2(inputs, settings);
        Require.Exactly(saved.W1, true, saved1, "saved w1", "a backward pass follows");
        Require.Exactly(saved.W2, true, saved2, "saved w2", "a backward pass follows");
        Require.Exactly(saved.P1, inputs.Mu is not null, saved1, "saved p1", "mu is given and a backward pass follows");
        Require.Exactly(saved.P2, inputs.Mu is not null, saved2, "saved p2", "mu is given and a backward pass follows");
        Require.OnDevice(inputs.Q.Device, (saved.W1, "saved w1"), (saved.W2, "saved w2"), (saved.P1, "saved p1"), (saved.P2, "saved p2"));
    }
}
