namespace NestedLearning.Operations;

/// <summary>The heads of a scan's tensors.</summary>
internal static unsafe class ScanHeads
{
    /// <summary>Head <paramref name="head"/> of [B, H], columns of its values from <paramref name="firstColumn"/> on.</summary>
    public static ScanHead<float> Of(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, int head, int firstColumn,
        int columns) => new()
        {
            Q = Tokens(inputs.Q, inputs, head),
            K = Tokens(inputs.K, inputs, head),
            U = Tokens(inputs.U, inputs, head, firstColumn),
            LogAlpha = Tokens(inputs.LogAlpha, inputs, head),
            Erase = Tokens(inputs.Erase, inputs, head),
            Mu = Tokens(inputs.Mu, inputs, head),
            Theta = Tokens(inputs.Theta, inputs, head),
            KeyDim = inputs.KeyDim,
            ValueDim = columns,
            Scale = settings.Scale,
            Read = settings.Read,
            Write = settings.Write,
            Plan = settings.Plan(inputs.Time),
            HasMomentum = inputs.Mu is not null,
            Initial = new(
                State(inputs.S0, head, firstColumn), State(inputs.P0, head, firstColumn), State(inputs.ChunkStart, head, firstColumn)),
            SavedS = State(saved.States, head, firstColumn),
            SavedP = State(saved.Momenta, head, firstColumn),
        };

    /// <summary>A head's tokens as rows.</summary>
    public static Rows<float> Tokens(Tensor? tensor, in ScanInputs inputs, int head, int firstColumn = 0) =>
        View(HeadRows.Tokens(tensor, head / inputs.Heads, head % inputs.Heads), firstColumn);

    /// <summary>The rows of a head's state, or of its states chunk after chunk.</summary>
    public static Rows<float> State(Tensor? tensor, int head, int firstColumn = 0) => View(HeadRows.State(tensor, head), firstColumn);

    private static Rows<float> View(MatrixView view, int firstColumn) =>
        view.IsNull ? default : new(view.Start + firstColumn, view.RowStride);
}
