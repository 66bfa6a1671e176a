namespace NestedLearning.CommandLine.Operations;

// Tensors that are in a list: a case has them under their names there.
internal sealed partial class OperationRun
{
    /// <summary>The tensors of a list that the case has. One whose condition does not hold is not asked for.</summary>
    /// <param name="list">The list.</param>
    /// <param name="held">The conditions that hold, from the tensors before in the list.</param>
    /// <param name="naming">What the case calls a tensor, where that is not its name.</param>
    public TRecord Inputs<TRecord>(TensorList<TRecord> list, Func<TRecord, int> held, Func<string, string>? naming = null)
    {
        TRecord record = default!;
        foreach (TensorRow<TRecord> row in list.Rows.Where(r => r.IsAllowed(held(record))))
        {
            string name = naming?.Invoke(row.Name) ?? row.Name;
            record = row.With(record, row.Role == TensorRole.Required ? Input(name, row.Axes) : OptionalInput(name, row.Axes));
        }

        return record;
    }

    /// <summary>Tensors for the gradients of the inputs that are given.</summary>
    public TGradients Gradients<TRecord, TGradients>(TensorList<TRecord, TGradients> list, TRecord inputs)
    {
        TGradients gradients = default!;
        foreach ((TensorRow<TRecord> row, TensorRow<TGradients> gradient) in list.Rows.Zip(list.Gradients.Rows))
        {
            if (row.Get(inputs) is { } input)
                gradients = gradient.With(gradients, Empty(input.Shape));
        }

        return gradients;
    }

    /// <summary>Adds the tensors of a list that are given as results.</summary>
    public void Outputs<TRecord>(TensorList<TRecord> list, TRecord record, Func<string, string>? naming = null)
    {
        foreach (TensorRow<TRecord> row in list.Rows)
        {
            if (row.Get(record) is { } tensor)
                Output(naming?.Invoke(row.Name) ?? row.Name.Replace(' ', '_'), tensor);
        }
    }
}
