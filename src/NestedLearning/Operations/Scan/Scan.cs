namespace NestedLearning.Operations;

/// <summary>
/// The primitive under every token-level memory (docs/specification.md, section 1): linear attention, delta rules, Titans, DGD are
/// choices of α, μ, ε and u. See <see cref="ScanInputs"/> for the equations and shapes.
/// </summary>
public static class Scan
{
    /// <summary>
    /// Runs the scan over whole sequences. One token (T = 1) whose states are not saved goes through the memory once, and
    /// with S and P in place of S0 and P0 nothing is copied or allocated: how a stream is decoded.
    /// </summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or an input is given or missing against its documentation. Nothing was written.</exception>
    public static void Forward(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs)
    {
        Validate(inputs, settings);
        Device device = inputs.Q.Device;
        ReadOnlySpan<int> state = [inputs.Batch, inputs.Heads, inputs.KeyDim, inputs.ValueDim];
        Require.SameShape(outputs.O, inputs.U.Shape, "o");
        Require.Axes(outputs.S, state, "s");
        Require.OptionalAxes(outputs.P, state, "p");
        Require.Presence(outputs.P, inputs.Mu is not null, "p", "mu is given");
        ValidateChunkStart(outputs.ChunkStart, inputs, settings, "chunk_start");
        ValidateSaved(inputs, settings, outputs.Saved, required: false);
        Require.OnDevice(device, (outputs.O, "o"), (outputs.S, "s"), (outputs.P, "p"), (outputs.ChunkStart, "chunk_start"), (outputs.Saved.States, "saved states"), (outputs.Saved.Momenta, "saved momenta"));
        device.Backend.ScanForward(inputs, settings, outputs);
    }

    /// <summary>The gradient of <see cref="Forward"/> to every input that is asked for.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a tensor is given or missing against its documentation. Nothing was written.</exception>
    public static void Backward(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, in ScanOutputGradients upstream, in ScanGradients gradients)
    {
        Validate(inputs, settings);
        ValidateSaved(inputs, settings, saved, required: true);
        Device device = inputs.Q.Device;
        Shape state = StateShape(inputs);
        Require.OptionalShape(upstream.O, inputs.U.Shape, "do");
        Require.OptionalShape(upstream.S, state, "ds");
        Require.AtMost(upstream.P, inputs.Mu is not null, state, "dp", "mu is given");
        ValidateChunkStart(upstream.ChunkStart, inputs, settings, "dchunk_start");
        Require.Like(gradients.Q, inputs.Q, "dq");
        Require.Like(gradients.K, inputs.K, "dk");
        Require.Like(gradients.U, inputs.U, "du");
        Require.Like(gradients.LogAlpha, inputs.LogAlpha, "dlog_alpha");
        Require.Like(gradients.Erase, inputs.Erase, "derase");
        Require.Like(gradients.Mu, inputs.Mu, "dmu");
        Require.Like(gradients.Theta, inputs.Theta, "dtheta");
        Require.OptionalShape(gradients.S0, state, "ds0");
        Require.AtMost(gradients.P0, inputs.Mu is not null, state, "dp0", "mu is given");
        Require.Like(gradients.ChunkStart, inputs.ChunkStart, "dchunk_start");
        Require.OnDevice(device, (saved.States, "saved states"), (saved.Momenta, "saved momenta"), (upstream.O, "do"), (upstream.S, "ds"), (upstream.P, "dp"), (upstream.ChunkStart, "dchunk_start"),
            (gradients.Q, "dq"), (gradients.K, "dk"), (gradients.U, "du"), (gradients.LogAlpha, "dlog_alpha"), (gradients.Erase, "derase"),
            (gradients.Mu, "dmu"), (gradients.Theta, "dtheta"), (gradients.S0, "ds0"), (gradients.P0, "dp0"), (gradients.ChunkStart, "dchunk_start"));
        device.Backend.ScanBackward(inputs, settings, saved, upstream, gradients);
    }

    /// <summary>The shape of S and P: [B, H, Dk, Dv].</summary>
    public static Shape StateShape(in ScanInputs inputs) => [inputs.Batch, inputs.Heads, inputs.KeyDim, inputs.ValueDim];

    /// <summary>The shape of the states saved for a backward pass: [B, H, chunks, Dk, Dv].</summary>
    public static Shape SavedShape(in ScanInputs inputs, ScanSettings settings) =>
        [inputs.Batch, inputs.Heads, settings.Chunks(inputs.Time), inputs.KeyDim, inputs.ValueDim];

    private static void Validate(in ScanInputs inputs, ScanSettings settings)
    {
        if (settings is { Read: ScanRead.ChunkStart, Write: ScanWrite.Given })
            throw new ArgumentException($"Reads at the chunk's start need a rule whose chunk is part of its meaning, expected {nameof(ScanWrite.FrozenL2)} or {nameof(ScanWrite.Scaled)}; with {nameof(ScanWrite.Given)} writes the chunk is free.", nameof(settings));
        if (settings.Phase != 0 && !settings.HasMeaningfulChunk)
            throw new ArgumentException($"The phase is {settings.Phase} tokens, expected 0 where the chunk is not part of the meaning.", nameof(settings));
        Require.Finite(settings.Scale, "scale");
        Tensor q = inputs.Q;
        Require.Rank(q, 4, "[B, T, H, Dk]", "q");
        Require.SameShape(inputs.K, q.Shape, "k");
        Require.Rank(inputs.U, 4, "[B, T, H, Dv]", "u");
        Require.Axes(inputs.U, [inputs.Batch, inputs.Time, inputs.Heads, inputs.ValueDim], "u");
        ReadOnlySpan<int> coefficients = [inputs.Batch, inputs.Time, inputs.Heads];
        Require.OptionalAxes(inputs.LogAlpha, coefficients, "log_alpha");
        Require.OptionalAxes(inputs.Erase, coefficients, "erase");
        Require.OptionalAxes(inputs.Mu, coefficients, "mu");
        Require.OptionalAxes(inputs.Theta, coefficients, "theta");
        ReadOnlySpan<int> state = [inputs.Batch, inputs.Heads, inputs.KeyDim, inputs.ValueDim];
        Require.OptionalAxes(inputs.S0, state, "s0");
        Require.OptionalAxes(inputs.P0, state, "p0");
        ChunkPlan.Validate(settings.Plan(inputs.Time), inputs.ChunkStart, state);
        Require.Presence(inputs.Theta, settings.Write != ScanWrite.Given, "theta", $"the write is not {nameof(ScanWrite.Given)}");
        if (inputs.Mu is null)
            Require.Presence(inputs.P0, false, "p0", "mu is given");
        Require.OnDevice(q.Device, (inputs.K, "k"), (inputs.U, "u"), (inputs.LogAlpha, "log_alpha"), (inputs.Erase, "erase"),
            (inputs.Mu, "mu"), (inputs.Theta, "theta"), (inputs.S0, "s0"), (inputs.P0, "p0"), (inputs.ChunkStart, "chunk_start"));
    }

    private static void ValidateChunkStart(Tensor? tensor, in ScanInputs inputs, ScanSettings settings, string name)
    {
        if (tensor is null)
            return;
        if (!settings.HasMeaningfulChunk)
            throw new ArgumentException($"{name} is given, expected null where the chunk is not part of the meaning.", name);
        Require.Axes(tensor, [inputs.Batch, inputs.Heads, inputs.KeyDim, inputs.ValueDim], name);
    }

    private static void ValidateSaved(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, bool required)
    {
        if (saved.States is null && saved.Momenta is null && !required)
            return;
        Shape shape = SavedShape(inputs, settings);
        Require.Exactly(saved.States, true, shape, "saved states", "a backward pass follows");
        Require.Exactly(saved.Momenta, inputs.Mu is not null, shape, "saved momenta", "mu is given and a backward pass follows");
    }
}
