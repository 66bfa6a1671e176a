using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>A decay is at most 1: log α above 0, which chunks would turn into infinity times zero, is refused.</summary>
public abstract class DecayTests(string backend) : BackendTests(backend)
{
    [Theory]
    [InlineData(1e-30f)]
    [InlineData(0.5f)]
    [InlineData(float.PositiveInfinity)]
    public void LogAlphaAboveZero_IsRefused(float logAlpha)
    {
        Shape tokens = [1, 9, 2, 4], gates = [1, 9, 2], state = [1, 2, 4, 4];
        Tensor decays = Zeros(gates), o = Zeros(tokens), s = Zeros(state), p = Zeros(state);
        Tensor x = From(tokens, new TestData(1).Normal(tokens));
        float[] elements = new float[18];
        elements[11] = logAlpha;
        decays.CopyFrom(elements);
        var scan = new ScanInputs { Q = x, K = x, U = x, LogAlpha = decays };
        var deep = new DeepMemoryInputs { Q = x, K = x, V = x, LogAlpha = decays, W1 = Zeros(state), W2 = Zeros(state) };
        var settings = new ScanSettings(1, ScanRead.After, ScanWrite.Given, 4);
        var deepSettings = new DeepMemorySettings(4, MemoryObjective.L2, ScanRead.After);
        Tensor states = Zeros(Scan.SavedShape(scan, settings)), saved = Zeros(DeepMemory.SavedShape1(deep, deepSettings));
        Action[] all =
        [
            () => Scan.Forward(scan, settings, new ScanOutputs { O = o, S = s }),
            () => Scan.Backward(
                scan, settings, new ScanSaved(states, null), new ScanOutputGradients(x, null, null), new ScanGradients { Q = o }),
            () => DeepMemory.Forward(deep, deepSettings, new DeepMemoryOutputs { O = o, W1 = s, W2 = p }),
            () => DeepMemory.Backward(deep, deepSettings, new DeepMemorySaved(saved, saved), new DeepMemoryOutputGradients { O = x },
                new DeepMemoryGradients { Q = o }),
        ];
        foreach (Action run in all)
        {
            var e = Assert.Throws<ArgumentException>(run);
            Assert.Equal("log_alpha", e.ParamName);
            Assert.StartsWith("log_alpha has ", e.Message, StringComparison.Ordinal);
            Assert.Contains("expected at most 0", e.Message, StringComparison.Ordinal);
        }

        foreach (Tensor written in (Tensor[])[o, s, p])
            Assert.All(written.ToArray(), e => Assert.Equal(0, e));
    }

    [Fact]
    public void TotalDecay_AndNone_AreTaken()
    {
        Shape tokens = [1, 2, 1, 1], gates = [1, 2, 1];
        Tensor ones = From(tokens, [1, 1]), o = Unwritten(tokens);
        Scan.Forward(
            new ScanInputs { Q = ones, K = ones, U = ones, LogAlpha = From(gates, [0, float.NegativeInfinity]) },
            new ScanSettings(1, ScanRead.After, ScanWrite.Given, 4), new ScanOutputs { O = o, S = Unwritten([1, 1, 1, 1]) });
        Assert.Equal([1, 1], o.ToArray());
    }
}

public sealed class ManagedDecayTests() : DecayTests("managed");

public sealed class CpuDecayTests() : DecayTests("cpu");
