using System.Diagnostics;

namespace NestedLearning.Models.Continual;

/// <summary>Leads a learner through a stream of phases and measures it.</summary>
public static class PhaseRun
{
    private const int EndPart = 10;

    /// <summary>Reads the whole stream.</summary>
    /// <param name="learner">At the beginning of its stream.</param>
    /// <param name="stream">What it reads.</param>
    /// <param name="progress">Is told how many bytes of the stream are read, after every few segments.</param>
    /// <param name="everyPhase">Whether held-out text is measured after every phase; otherwise at the end alone, from a fresh state, which
    /// is what <see cref="PhaseResults.Score"/> takes.</param>
    /// <param name="stop">Ends the run.</param>
    /// <exception cref="OperationCanceledException">It was told to stop.</exception>
    public static PhaseResults Run(IStreamLearner learner, PhaseStream stream, Action<long>? progress = null, bool everyPhase = true,
        CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(learner);
        ArgumentNullException.ThrowIfNull(stream);
        int phases = stream.Phases.Count;
        double[] whole = Unmeasured(phases), beginnings = Unmeasured(phases), ends = Unmeasured(phases);
        double[][] heldOut = [.. whole.Select(_ => Unmeasured(stream.Domains.Count))],
            afterReading = [.. whole.Select(_ => Unmeasured(stream.Domains.Count))];
        double seconds = 0;
        long before = 0;
        string? diverged = null;
        try
        {
            for (int i = 0; i < phases; i++)
            {
                long start = before;
                ReadOnlyMemory<byte> text = stream.Phases[i].Text;
                double[] bits = Read(learner, text.Span, ref seconds, read => progress?.Invoke(start + read), stop);
                whole[i] = bits.Average();
                beginnings[i] = bits.Take(PhaseStream.WarmBytes).Average();
                ends[i] = bits.Skip(bits.Length - Math.Max(1, bits.Length / EndPart)).Average();
                before += text.Length;
                for (int d = 0; d < stream.Domains.Count && (everyPhase || i == phases - 1); d++)
                {
                    stop.ThrowIfCancellationRequested();
                    heldOut[i][d] = learner.Evaluate(stream.HeldOut(d).Span, stop) / Math.Log(2);
                    if (everyPhase)
                        afterReading[i][d] = AfterReading(learner, stream.Warm(d).Span, stream.HeldOut(d).Span, stop);
                }
            }
        }
        catch (NotFiniteNumberException e)
        {
            diverged = e.Message;
            // What it had read until then is no figure of a stream.
            foreach (double[] figures in (double[][])[whole, beginnings, ends, .. heldOut, .. afterReading])
                Array.Fill(figures, double.NaN);
        }

        return new PhaseResults
        {
            Domains = [.. stream.Phases.Select(p => p.Domain)],
            Phases = whole,
            Beginnings = beginnings,
            Ends = ends,
            HeldOut = heldOut,
            AfterReading = afterReading,
            Bytes = stream.Length,
            Parameters = learner.ParameterCount,
            StateBytes = StateBytes(learner),
            Seconds = seconds,
            Diverged = diverged,
        };
    }

    private static double[] Unmeasured(int count)
    {
        double[] figures = new double[count];
        Array.Fill(figures, double.NaN);
        return figures;
    }

    private static double AfterReading(IStreamLearner learner, ReadOnlySpan<byte> warm, ReadOnlySpan<byte> heldOut, CancellationToken stop)
    {
        double seconds = 0;
        using IStreamLearner copy = learner.Fork(learner.Name);
        Read(copy, warm, ref seconds, null, stop);
        copy.Learns = false;
        return Read(copy, heldOut, ref seconds, null, stop).Average();
    }

    // The loss of each byte in bits.
    private static double[] Read(IStreamLearner learner, ReadOnlySpan<byte> text, ref double seconds, Action<long>? progress,
        CancellationToken stop)
    {
        const int SegmentsBetweenReports = 16;
        double[] bits = new double[text.Length];
        float[] losses = new float[learner.SegmentLength];
        long begun = Stopwatch.GetTimestamp();
        for (int start = 0, segment = 1; start < text.Length; start += losses.Length, segment++)
        {
            stop.ThrowIfCancellationRequested();
            int length = Math.Min(losses.Length, text.Length - start);
            learner.Read(text.Slice(start, length), losses.AsSpan(0, length));
            for (int t = 0; t < length; t++)
                bits[start + t] = losses[t] / Math.Log(2);
            learner.Timeline.Clear();
            if (segment % SegmentsBetweenReports == 0)
                progress?.Invoke(start + length);
        }

        seconds += Stopwatch.GetElapsedTime(begun).TotalSeconds;
        return bits;
    }

    private static long StateBytes(IStreamLearner learner)
    {
        learner.Timeline.Clear();
        var file = new SafetensorsFile();
        learner.Save(file, "");
        return file.Names.Sum(n => (long)file.ShapeOf(n).ElementCount * (file.HoldsFloats(n) ? sizeof(float) : sizeof(long)));
    }
}
