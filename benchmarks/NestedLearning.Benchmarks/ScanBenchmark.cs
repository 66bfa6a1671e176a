using BenchmarkDotNet.Attributes;

namespace NestedLearning.Benchmarks;

/// <summary>The delta rule with decay over one sequence of 1024 tokens, four heads of 64 × 64 memories.</summary>
public class ScanBenchmark : DeviceBenchmark
{
    private const int Time = 1024, Heads = 4, Dim = 64;

    private static readonly ScanSettings s_settings = new(0.125f, ScanRead.After, ScanWrite.Given, ScanSettings.DefaultChunk);

    private ScanInputs _inputs;
    private ScanOutputs _outputs;
    private ScanOutputGradients _upstream;
    private ScanGradients _gradients;

    protected override void Prepare()
    {
        Shape tokens = [1, Time, Heads, Dim], coefficients = [1, Time, Heads], state = [1, Heads, Dim, Dim];
        // Keys of length about 1, as a model normalises them: with longer ones the erase would make the memory grow.
        float key = MathF.Sqrt(3f / Dim);
        _inputs = new ScanInputs
        {
            Q = Uniform(tokens),
            K = Uniform(tokens, -key, key),
            U = Uniform(tokens),
            LogAlpha = Uniform(coefficients, -0.1f, 0),
            Erase = Uniform(coefficients, 0, 1),
            S0 = Uniform(state),
        };
        _outputs = new ScanOutputs
        {
            O = Empty(tokens),
            S = Empty(state),
            Saved = new ScanSaved(Empty(Scan.SavedShape(_inputs, s_settings)), null),
        };
        _upstream = new ScanOutputGradients(Uniform(tokens), Uniform(state), null);
        _gradients = new ScanGradients
        {
            Q = Empty(tokens),
            K = Empty(tokens),
            U = Empty(tokens),
            LogAlpha = Empty(coefficients),
            Erase = Empty(coefficients),
            S0 = Empty(state),
        };
        Forward();
    }

    [Benchmark]
    public void Forward() => Scan.Forward(_inputs, s_settings, _outputs);

    [Benchmark]
    public void Backward() => Scan.Backward(_inputs, s_settings, _outputs.Saved, _upstream, _gradients);
}
