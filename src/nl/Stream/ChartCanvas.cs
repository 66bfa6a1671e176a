using System.Globalization;
using System.Net;
using System.Text;
using ScottPlot;
using SkiaSharp;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>Where a label's position is in its text.</summary>
internal enum Anchor
{
    Start,
    Middle,
    End,
}

/// <summary>One piece of text on a chart; the position is that of its baseline, in pixels from the top left corner.</summary>
internal sealed record ChartLabel(string Text, float X, float Y, Anchor Anchor = Anchor.Start, string Color = "#222222", float Size = 14,
    bool Upwards = false);

/// <summary>
/// Plots and labels on one picture. Plots leave all text to labels: where a machine has no fonts at all, as many
/// containers, the picture is an SVG whose text is set by the program that shows it, and PNG elsewhere.
/// </summary>
internal sealed class ChartCanvas(int width, int height)
{
    private static readonly string[] s_families = ["DejaVu Sans", "Liberation Sans", "Noto Sans", "Segoe UI", "Helvetica Neue", "Arial"];
    private readonly List<(Plot Plot, PixelRect Area)> _plots = [];
    private readonly List<ChartLabel> _labels = [];

    /// <summary>Whether text can be drawn here.</summary>
    public static bool HasFonts => SKTypeface.Default.GlyphCount > 0;

    public void Add(Plot plot, PixelRect area) => _plots.Add((plot, area));

    public void Add(ChartLabel label) => _labels.Add(label);

    public void SavePng(string path)
    {
        using SKSurface surface = SKSurface.Create(new SKImageInfo(width, height))
            ?? throw new InvalidOperationException($"There is no memory for a picture of {width} by {height}.");
        Draw(surface.Canvas);
        using SKTypeface typeface = FindTypeface();
        foreach (ChartLabel label in _labels)
        {
            using var font = new SKFont(typeface, label.Size);
            using var paint = new SKPaint { Color = SKColor.Parse(label.Color), IsAntialias = true };
            surface.Canvas.Save();
            surface.Canvas.Translate(label.X, label.Y);
            if (label.Upwards)
                surface.Canvas.RotateDegrees(-90);
            SKTextAlign align = label.Anchor switch
            {
                Anchor.Start => SKTextAlign.Left,
                Anchor.Middle => SKTextAlign.Center,
                _ =>
                SKTextAlign.Right
            };
            surface.Canvas.DrawText(label.Text, 0, 0, align, font, paint);
            surface.Canvas.Restore();
        }

        using SKImage image = surface.Snapshot();
        using SKData data = image.Encode(SKEncodedImageFormat.Png, 100);
        SafeFile.Write(path, data.SaveTo);
    }

    public void SaveSvg(string path)
    {
        using var drawn = new MemoryStream();
        using (SKCanvas canvas = SKSvgCanvas.Create(new SKRect(0, 0, width, height), drawn))
            Draw(canvas);
        string svg = Encoding.UTF8.GetString(drawn.ToArray());
        var text = new StringBuilder(svg, 0, svg.LastIndexOf("</svg>", StringComparison.Ordinal), svg.Length + 200 * _labels.Count);
        text.Append("<g font-family=\"sans-serif\">\n");
        foreach (ChartLabel label in _labels)
        {
            string anchor = label.Anchor switch { Anchor.Start => "start", Anchor.Middle => "middle", _ => "end" };
            text.Append(CultureInfo.InvariantCulture,
                $"<text transform=\"translate({label.X:F1} {label.Y:F1}){(label.Upwards ? " rotate(-90)" : "")}\" ")
                .Append(CultureInfo.InvariantCulture, $"font-size=\"{label.Size}\" fill=\"{label.Color}\" text-anchor=\"{anchor}\">")
                .Append(WebUtility.HtmlEncode(label.Text)).Append("</text>\n");
        }

        SafeFile.WriteText(path, text.Append("</g>\n</svg>\n").ToString());
    }

    // What the system calls its default may have serifs.
    private static SKTypeface FindTypeface()
    {
        string[] families = SKFontManager.Default.GetFontFamilies();
        string? family = s_families.FirstOrDefault(f => families.Contains(f))
            ?? families.FirstOrDefault(f => f.EndsWith(" Sans", StringComparison.Ordinal));
        return SKTypeface.FromFamilyName(family) ?? SKTypeface.Default;
    }

    private void Draw(SKCanvas canvas)
    {
        canvas.Clear(SKColors.White);
        foreach ((Plot plot, PixelRect area) in _plots)
        {
            plot.RenderManager.ClearCanvasBeforeEachRender = false;
            plot.Render(canvas, area);
        }
    }
}
