namespace NestedLearning.Models;

internal static class ParameterExtensions
{
    /// <summary>One start for every sequence of a batch: the parameter's elements B times, as [B, ..]. Its gradient is the sum over the batch.</summary>
    public static Variable Repeat(this Parameter parameter, Tape tape, Shape shape)
    {
        int batch = shape[0];
        Variable row = tape.Reshape(tape.Use(parameter), [1, parameter.Value.Count]);
        Variable rows = batch == 1 ? row : tape.Linear(tape.Input(tape.Keep(tape.Device.Full([batch, 1], 1))), row);
        return tape.Reshape(rows, shape);
    }
}
