using NestedLearning.Testing;
using NestedLearning.Tests;
using Xunit;

namespace NestedLearning.Cuda.Tests;

/// <summary>What of the scan is hand-written: forward, without momentum, from the start of a chunk of at most 64 tokens.</summary>
public sealed class ScanForwardTests() : ScanSuite("cuda")
{
    public static TheoryData<string, ScanWrite, ScanRead> Rules()
    {
        var rules = new TheoryData<string, ScanWrite, ScanRead>();
        foreach (string gates in (ReadOnlySpan<string>)["", "a", "e", "ae"])
        {
            foreach (ScanWrite write in Enum.GetValues<ScanWrite>())
            {
                foreach (ScanRead read in Enum.GetValues<ScanRead>())
                {
                    // A free chunk has no start to read.
                    if (write != ScanWrite.Given || read != ScanRead.ChunkStart)
                        rules.Add(gates, write, read);
                }
            }
        }

        return rules;
    }

    [Theory]
    [MemberData(nameof(Rules))]
    public void Forward_MatchesReference(string gates, ScanWrite write, ScanRead read)
    {
        for (int i = 0; i < Shapes.Length; i++)
        {
            (int[] shape, int chunk) = Shapes[i];
            if (chunk > 64)
                continue;
            ScanCase c = ScanCase.Create((ulong)i, [.. shape], new ScanSettings(0.6f, read, write, chunk), gates);
            // A decode kernel takes few tokens whose states are not saved.
            bool save = c.Time <= 8 || i % 2 == 0;
            CheckForward(c, Forward(c, save, inPlace: !save), Tolerances.Scan.Forward);
        }
    }

    [Fact]
    public void Forward_IsOneLaunch()
    {
        ScanCase c = ScanCase.Create(1, [2, 200, 2, 16, 16], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 64), "ae");
        ScanInputs inputs = Inputs(c);
        var outputs = new ScanOutputs { O = Unwritten(c.ValueShape), S = Unwritten(c.StateShape) };
        int before = StandIn.Launches();
        Scan.Forward(inputs, c.Settings, outputs);
        Assert.Equal(1, StandIn.Launches() - before);
    }

    // 11 and 8 significant bits of each operand; without leave for it nothing is rounded.
    [Theory]
    [InlineData(TensorCores.TensorFloat32, 4e-3)]
    [InlineData(TensorCores.BFloat16, 3e-2)]
    public void Operands_AreRoundedWhereItIsAllowed(TensorCores allowed, double tolerance)
    {
        ScanCase c = ScanCase.Create(2, [1, 100, 2, 32, 40], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 64), "ae");
        float[] exact = Forward(c).O;
        Device.TensorCores = allowed;
        ScanRun rounded = Forward(c);
        CheckForward(c, rounded, tolerance);
        Assert.NotEqual(exact, rounded.O);
    }
}
