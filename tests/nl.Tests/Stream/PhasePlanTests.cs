using System.Text;
using Xunit;

namespace NestedLearning.CommandLine.Streaming.Tests;

public class PhasePlanTests
{
    [Theory]
    [InlineData(102_400)]
    [InlineData(8192)]
    [InlineData(4000)]
    public void HeldOutPart_IsNotInTheStream_AndNothingIsLost(int bytes)
    {
        byte[] text = Texts.Lines(PhasePlan.TextFor(bytes) / 8);
        Phase phase = PhasePlan.Create([new PhaseText("lines", "", text)], bytes).Phases[0];

        string[] streamed = Lines(phase.Text), heldOut = Lines(phase.HeldOut);
        Assert.InRange(phase.HeldOut.Length, 512, 8192);
        Assert.Empty(streamed.Intersect(heldOut));
        Assert.Equal(Lines(text), streamed.Concat(heldOut).Order(StringComparer.Ordinal));
        // From several places of the text.
        Assert.Equal(4, 1 + Enumerable.Range(1, heldOut.Length - 1)
            .Count(i => string.CompareOrdinal(heldOut[i], heldOut[i - 1]) > 0 && int.Parse(heldOut[i]) != int.Parse(heldOut[i - 1]) + 1));
    }

    [Fact]
    public void Phases_FollowOneAnother()
    {
        PhasePlan plan = PhasePlan.Create([Text("a", 20_000), Text("b", 5_001), Text("c", 20_000)], 10_000);

        Assert.Equal(10_000, plan.Phases[0].Text.Length);
        Assert.Equal(30_001, PhasePlan.Create([Text("a", 100_000)], 30_001).Length);
        Assert.True(plan.Phases[1].Text.Length < 5_001);
        Assert.Equal([0, plan.Phases[0].End, plan.Phases[1].End], plan.Phases.Select(p => p.Start));
        Assert.Equal(plan.Length, plan.Phases.Sum(p => p.Text.Length));
        Assert.Equal(plan.Blocks, plan.Phases.Sum(p => p.Blocks));
        Assert.Equal(plan.Phases[1].Text.Length, Enumerable.Range(0, plan.Phases[1].Blocks).Sum(plan.Phases[1].BytesOfBlock));
        Assert.Equal("a", plan.At(9_999).Name);
        Assert.Equal("b", plan.At(10_000).Name);
        Assert.Throws<ArgumentOutOfRangeException>(() => plan.At(plan.Length));
    }

    [Fact]
    public void Hash_IsOfAllTheText()
    {
        byte[] text = Texts.Lines(2000), other = [.. text];
        PhasePlan plan = PhasePlan.Create([new PhaseText("a", "", text)], 8192);
        // A byte of the held-out part.
        other[Array.LastIndexOf(text, plan.Phases[0].HeldOut[^2], 5 * 8000 / 10)] ^= 1;

        Assert.NotEqual(plan.Phases[0].Sha256, PhasePlan.Create([new PhaseText("a", "", other)], 8192).Phases[0].Sha256);
        Assert.Equal(plan.Phases[0].Sha256, PhasePlan.Create([new PhaseText("b", "elsewhere", text)], 8192).Phases[0].Sha256);
    }

    [Fact]
    public void TooLittleText_IsAnErrorThatSaysHowMuch()
    {
        var e = Assert.Throws<StreamException>(() => PhasePlan.Create([Text("short", 4000)], 10_000));
        Assert.Contains("'short'", e.Message, StringComparison.Ordinal);
        Assert.Contains("4,000", e.Message, StringComparison.Ordinal);
        Assert.Throws<StreamException>(() => PhasePlan.Create([], 10_000));
    }

    private static PhaseText Text(string name, int bytes) => new(name, "", Texts.Words("abcdefg", bytes, 1));

    private static string[] Lines(byte[] text) => Encoding.ASCII.GetString(text).Split('\n', StringSplitOptions.RemoveEmptyEntries);
}
