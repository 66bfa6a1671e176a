using System.Xml.Linq;
using NestedLearning.CommandLine.Tests;
using Xunit;

namespace NestedLearning.CommandLine.Streaming.Tests;

public sealed class LossChartTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Svg_CarriesItsTextAsText()
    {
        string path = _folder.File("loss.svg");
        Draw().SaveSvg(path);

        XDocument svg = XDocument.Load(path);
        string[] texts = [.. svg.Descendants().Where(e => e.Name.LocalName == "text").Select(e => e.Value)];
        foreach (string expected in (string[])["1 letters", "2 figures", "3 letters again", "● Hope online", "● one level", "● Hope frozen",
            "● Hope online: pairs (234 commits)", "bytes of the stream", "4k"])
            Assert.Contains(expected, texts);
        Assert.Contains(texts, t => t.StartsWith("1e-", StringComparison.Ordinal));
        Assert.True(svg.Descendants().Count(e => e.Name.LocalName == "path") > 10);
    }

    [Fact]
    public void Png_IsAPictureOfItsSize()
    {
        string path = _folder.File("loss.png");
        Draw().SavePng(path);
        using SkiaSharp.SKBitmap picture = SkiaSharp.SKBitmap.Decode(path);
        Assert.Equal((1280, 840), (picture.Width, picture.Height));
        // Inside the axes of the upper plot the learners' curves, of the lower one the levels' points.
        foreach (uint color in (uint[])[0xff1f77b4, 0xffff7f0e, 0xff2ca02c])
            Assert.True(Count(picture, color, 62, 449) > 50, $"{color:x}");
        foreach (uint color in (uint[])[0xffd62728, 0xff9467bd, 0xffff7f0e])
            Assert.True(Count(picture, color, 570, 780) > 50, $"{color:x}");
    }

    private static int Count(SkiaSharp.SKBitmap picture, uint color, int top, int bottom)
    {
        int count = 0;
        for (int y = top; y < bottom; y++)
        {
            for (int x = 90; x < picture.Width - 30; x++)
                count += IsNear(picture.GetPixel(x, y), new SkiaSharp.SKColor(color)) ? 1 : 0;
        }

        return count;
    }

    // Thin lines are blended with the white beside them.
    private static bool IsNear(SkiaSharp.SKColor a, SkiaSharp.SKColor b) =>
        Math.Abs(a.Red - b.Red) < 40 && Math.Abs(a.Green - b.Green) < 40 && Math.Abs(a.Blue - b.Blue) < 40;

    private static ChartCanvas Draw()
    {
        PhasePlan plan = Texts.Plan();
        using var run = new StreamRun(plan, new ByteCountFactory(), LearnerKinds.All, null, 0);
        run.Begin();
        run.Run(CancellationToken.None);
        return LossChart.Draw(run, StreamReport.Create(run, new ByteCountFactory(), 0));
    }
}
