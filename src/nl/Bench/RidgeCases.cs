namespace NestedLearning.CommandLine.Bench;

/// <summary>The recursive ridge memory: a sample by itself, which waits for memory, and samples in groups.</summary>
internal static class RidgeCases
{
    private const int Features = 2048, Outputs = 10, Many = 64;

    // A row of L is multiplied by the key and then updated with K: six operations an element of half a matrix. In float64, where a vector
    // has half the numbers, each is two of the machine's float32 operations.
    private const double Flops = 2 * 3.0 * Features * Features;

    // Half a matrix of float64, read and written.
    private const double Bytes = 2.0 * sizeof(double) * Features * Features / 2;

    public static IReadOnlyList<BenchCase> All { get; } =
    [
        new("ridge-2048", $"recursive ridge memory, one sample, D={Features} V={Outputs}", Flops, Bytes, t => Learn(t, 1)),
        new("ridge-2048x64", $"recursive ridge memory, {Many} samples in groups, D={Features} V={Outputs}", Many * Flops,
            Many / 8 * Bytes, t => Learn(t, Many)),
    ];

    private static Action Learn(BenchTensors t, int samples)
    {
        RidgeState state = t.Own(new RidgeState(t.Device, Features, Outputs, 1));
        Tensor x = t.Uniform("x", [samples, Features]), y = t.Uniform("y", [samples, Outputs]);
        return () => Ridge.Learn(state, x, y, 0.999);
    }
}
