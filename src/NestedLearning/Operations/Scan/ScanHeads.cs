namespace NestedLearning.Operations;

/// <summary>The heads of a scan's tensors.</summary>
internal static class ScanHeads
{
    /// <summary>Head <paramref name="head"/> of [B, H], columns of its values from <paramref name="firstColumn"/> on.</summary>
    public static ScanHead<float> Of(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, int head, int firstColumn,
        int columns) => new()
        {
            Q = HeadRows.Tokens(inputs.Q, head),
            K = HeadRows.Tokens(inputs.K, head),
            U = HeadRows.Tokens(inputs.U, head).From(0, firstColumn),
            LogAlpha = HeadRows.Tokens(inputs.LogAlpha, head),
            Erase = HeadRows.Tokens(inputs.Erase, head),
            Mu = HeadRows.Tokens(inputs.Mu, head),
            Theta = HeadRows.Tokens(inputs.Theta, head),
            KeyDim = inputs.KeyDim,
            ValueDim = columns,
            Scale = settings.Scale,
            Read = settings.Read,
            Write = settings.Write,
            Plan = settings.Plan(inputs.Time),
            HasMomentum = inputs.Mu is not null,
            Initial = States(inputs.S0, inputs.P0, inputs.ChunkStart, head, firstColumn),
            SavedS = HeadRows.State(saved.States, head).From(0, firstColumn),
            SavedP = HeadRows.State(saved.Momenta, head).From(0, firstColumn),
        };

    /// <summary>The same head's states.</summary>
    public static ScanStates<float> States(Tensor? s, Tensor? p, Tensor? chunkStart, int head, int firstColumn = 0) => new(
        HeadRows.State(s, head).From(0, firstColumn), HeadRows.State(p, head).From(0, firstColumn),
        HeadRows.State(chunkStart, head).From(0, firstColumn));
}
