namespace NestedLearning.Models;

internal static class TapeExtensions
{
    /// <summary>
    /// What a matrix memory S [B, H, Dk, Dv] answers to x [B, T, H, Dk], as it is: x S for each token and head, [B, T, H, Dv].
    /// </summary>
    public static Variable Retrieve(this Tape tape, Variable x, Variable s)
    {
        // A scan that writes zeros.
        int[] answers = x.Shape.AsSpan().ToArray();
        answers[^1] = s.Shape[^1];
        Variable keys = tape.Input(tape.Keep(tape.Device.Zeros(x.Shape))),
            writes = tape.Input(tape.Keep(tape.Device.Zeros(new Shape(answers))));
        return tape.Scan(new ScanVariables(x, keys, writes, S0: s),
            new ScanSettings(1, ScanRead.Before, ScanWrite.Given, ScanSettings.DefaultChunk)).O;
    }

    /// <summary>factor · x.</summary>
    public static Variable Scale(this Tape tape, Variable x, float factor) =>
        factor == 1 ? x : tape.Multiply(x, tape.Input(tape.Keep(tape.Device.Full(x.Shape, factor))));

    /// <summary>x + number.</summary>
    public static Variable Shift(this Tape tape, Variable x, float number) =>
        number == 0 ? x : tape.Add(x, tape.Input(tape.Keep(tape.Device.Full(x.Shape, number))));
}
