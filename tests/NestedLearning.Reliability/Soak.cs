using System.Diagnostics;
using NestedLearning.Models;

namespace NestedLearning.Reliability;

/// <summary>
/// One learner for very long: its losses stay finite, its process does not grow and does not slow down. In tenths of the stream.
/// </summary>
internal static class Soak
{
    private const int Parts = 10;

    /// <summary>Of the second tenth's memory and median time, what a later tenth may take.</summary>
    private const double MoreMemory = 1.1, MoreTime = 1.5;

    /// <param name="bytes">Of the stream.</param>
    /// <param name="rate">Times the default learning rate.</param>
    /// <param name="dim">The width of the model.</param>
    public static int Run(long bytes, float rate, int dim)
    {
        using Device device = Device.Open();
        ModelConfiguration configuration = ModelConfiguration.Hope;
        configuration = configuration with
        {
            Dim = dim,
            Levels = [.. configuration.Levels.Select(level => level with { LearningRate = level.LearningRate * rate })],
        };
        using StreamLearner learner = StreamLearner.Create(device, configuration, "soak");
        var text = new Text();
        float[] losses = new float[learner.SegmentLength];
        List<(double Memory, double Time)> parts = [];
        bool good = true;
        Console.WriteLine($"Hope of width {dim}, {rate:0.##} times its learning rate, {bytes:N0} bytes, " +
            $"{device.Name} ({device.Description})\n");
        Console.WriteLine("| bytes | commits of the fastest level | bits per byte | restarts | µs a byte | MB |\n" +
            "| ---: | ---: | ---: | ---: | ---: | ---: |");
        for (int part = 1; part <= Parts; part++)
        {
            double sum = 0;
            long count = 0, end = bytes * part / Parts;
            // Steps of a hundredth, of which the median time stands: other work on the machine comes and goes.
            var times = new List<double>();
            while (learner.Position < end)
            {
                long from = learner.Position, to = Math.Min(end, from + Math.Max(1, bytes / (Parts * 100)));
                var clock = Stopwatch.StartNew();
                while (learner.Position < to)
                {
                    ReadOnlySpan<byte> segment = text.At(learner.Position, (int)Math.Min(losses.Length, to - learner.Position));
                    learner.Read(segment, losses.AsSpan(0, segment.Length));
                    foreach (float loss in losses.AsSpan(0, segment.Length))
                        sum += loss;
                    count += segment.Length;
                }

                times.Add(clock.Elapsed.TotalMicroseconds / (learner.Position - from));
            }

            times.Sort();
            double memory = Environment.WorkingSet / 1e6, time = times[times.Count / 2], bits = sum / count / Math.Log(2);
            parts.Add((memory, time));
            Console.WriteLine($"| {learner.Position:N0} | {learner.Position / learner.SegmentLength:N0} | {bits:F3} | " +
                $"{learner.Restarts} | {time:F1} | {memory:F0} |");
            if (!double.IsFinite(bits))
            {
                Console.Error.WriteLine($"the losses are not finite after {learner.Position} bytes");
                return 1;
            }

            // Without what the timeline keeps.
            learner.Timeline.Clear();
            good &= part <= 2 || (memory <= MoreMemory * parts[1].Memory && time <= MoreTime * parts[1].Time);
        }

        Console.WriteLine(good
            ? "\nno NaN, no growth, no slowing"
            : $"\nFAILED: a tenth took more than {MoreMemory} times the memory, or {MoreTime} times the time, of the second");
        return good ? 0 : 1;
    }
}
