namespace NestedLearning;

public sealed partial class Tape
{
    /// <summary>Rows of a table [V, D] for tokens of shape [..]: the result is [.., D].</summary>
    /// <exception cref="ArgumentOutOfRangeException">A token is not a row of the table.</exception>
    public Variable Embedding(IndexTensor tokens, Variable table)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        ArgumentNullException.ThrowIfNull(table);
        Require.Rank(table.Value, 2, "[V, D]");
        var y = new Variable(New([.. tokens.Shape.AsSpan(), table.Shape[1]]), Needs(table));
        Operations.Embedding.Forward(tokens, table.Value, y.Value);
        if (y.NeedsGradient)
            Record(() => Operations.Embedding.Backward(tokens, y.Gradient!, Added(table)!), y);
        return y;
    }
}
