namespace NestedLearning;

// Operations whose tensors are in lists: variables stand in a list's order.
public sealed partial class Tape
{
    private static readonly Func<Variable?, Tensor?> s_value = v => v?.Value, s_gradient = v => v?.Gradient;

    /// <summary>New results, null where one is not allowed or, being optional, not wanted.</summary>
    private Variable?[] Results<TRecord>(TensorList<TRecord> list, in OperationCall call, bool needsGradient, bool optional = true)
    {
        var results = new Variable?[list.Rows.Length];
        for (int i = 0; i < results.Length; i++)
        {
            TensorRow<TRecord> row = list.Rows[i];
            if (row.IsAllowed(call.Held) && (optional || row.Role == TensorRole.Required))
                results[i] = new Variable(New(row.Shape(call)), needsGradient);
        }

        return results;
    }

    /// <summary>Runs a backward pass that writes the gradient of every input that needs one.</summary>
    private void WriteGradients<TRecord, TGradients>(TensorList<TRecord, TGradients> list, Variable?[] inputs, Action<TGradients> backward)
    {
        WrittenGradient[] written = Array.ConvertAll(inputs, Written);
        try
        {
            backward(list.Gradients.Of<WrittenGradient>(written, w => w.Place));
        }
        finally
        {
            for (int i = written.Length - 1; i >= 0; i--)
                written[i].Dispose();
        }
    }
}
