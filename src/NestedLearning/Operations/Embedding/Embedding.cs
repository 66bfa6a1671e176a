namespace NestedLearning.Operations;

/// <summary>Rows of a table, chosen by tokens. Arguments are checked before anything is written.</summary>
public static class Embedding
{
    /// <summary>y [.., D] = rows of table [V, D] chosen by tokens.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is not a row of the table.</exception>
    public static void Forward(IndexTensor tokens, Tensor table, Tensor y)
    {
        Require.Given(table, y);
        Validate(tokens, table, y);
        using Held held = Held.All(tokens, table, y);
        table.Device.Backend.EmbeddingForward(tokens, table, y);
    }

    /// <summary>dTable [V, D] += the rows of dy, each to its token's.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is not a row of the table.</exception>
    public static void Backward(IndexTensor tokens, Tensor dy, Tensor dTable)
    {
        Require.Given(dTable, dy);
        Validate(tokens, dTable, dy);
        using Held held = Held.All(tokens, dy, dTable);
        dTable.Device.Backend.EmbeddingBackward(tokens, dy, dTable);
    }

    private static void Validate(IndexTensor tokens, Tensor table, Tensor rows)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        Require.Rank(table, 2, "[V, D]");
        if (rows.Shape.Last != table.Shape[1] || rows.Shape.Rows != tokens.Count)
            throw new ArgumentException($"The rows have shape {rows.Shape}, expected {tokens.Count} rows of {table.Shape[1]}.",
                nameof(rows));
        Require.Indices(tokens, 0, table.Shape[0], "token");
    }
}
