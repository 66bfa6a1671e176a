using System.Diagnostics;
using NestedLearning.Models;

namespace NestedLearning.Reliability;

/// <summary>
/// Many learners on one device, from several threads at once: each reads, forks, saves, loads, generates and evaluates in an order of
/// its own. Afterwards each is done again alone, and must have the same bits.
/// </summary>
internal static class ManyStreams
{
    private const int Streams = 64, Batch = 20;

    private static readonly int s_threads = 4 * Environment.ProcessorCount;

    public static int Run(TimeSpan time)
    {
        using Device device = Device.Open();
        var text = new Text();
        int[] steps = new int[Streams];
        byte[][] states = new byte[Streams][];
        var clock = Stopwatch.StartNew();
        Parallel.For(0, Streams, new ParallelOptions { MaxDegreeOfParallelism = s_threads }, stream =>
        {
            using var work = new StreamWork(device, text, stream);
            // Shares of the time in turn, as there are more streams than threads.
            long until = clock.ElapsedTicks + (long)(time.TotalSeconds * Stopwatch.Frequency * s_threads / Streams);
            while (clock.ElapsedTicks < until)
            {
                for (int i = 0; i < Batch; i++)
                    work.Step();
                steps[stream] += Batch;
            }

            states[stream] = work.State();
        });
        long all = steps.Sum(s => (long)s);
        Console.WriteLine($"{Streams} streams, {s_threads} threads, " +
            $"{clock.Elapsed.TotalSeconds:F0} s: {all:N0} steps");
        int different = 0;
        for (int stream = 0; stream < Streams; stream++)
        {
            using var work = new StreamWork(device, text, stream);
            for (int i = 0; i < steps[stream]; i++)
                work.Step();
            if (!work.State().AsSpan().SequenceEqual(states[stream]))
            {
                different++;
                Console.Error.WriteLine($"stream {stream} has other bits alone");
            }
        }

        Console.WriteLine($"{different} of {Streams} have other bits when they are done again alone");
        return different == 0 ? 0 : 1;
    }

    /// <summary>What one stream does, by its number and step alone.</summary>
    private sealed class StreamWork : IDisposable
    {
        private static readonly ModelConfiguration s_small = ModelConfiguration.Hope with { Dim = 16, Heads = 2, Blocks = 1 };

        private readonly Text _text;
        private readonly Random _random;
        private readonly float[] _losses;
        private StreamLearner _learner;

        public StreamWork(Device device, Text text, int number)
        {
            _text = text;
            _random = new Random(number);
            _learner = StreamLearner.Create(device, s_small with { Seed = (ulong)number + 1 }, $"stream {number}");
            _losses = new float[_learner.SegmentLength];
        }

        public void Step()
        {
            switch (_random.Next(20))
            {
                case 0:
                    // The fork goes on, or the stream does.
                    var fork = (StreamLearner)_learner.Fork("fork");
                    (StreamLearner gone, _learner) = _random.Next(2) == 0 ? (fork, _learner) : (_learner, fork);
                    gone.Dispose();
                    break;
                case 1:
                    var file = new SafetensorsFile();
                    _learner.Save(file, "");
                    Read();
                    _learner.Load(file, "");
                    break;
                case 2:
                    _learner.Evaluate(_text.At(_random.Next(1 << 20), 100));
                    break;
                case 3:
                    _ = _learner.Generate(4);
                    break;
                default:
                    Read();
                    break;
            }
        }

        public byte[] State() => Checkpoint.Of(_learner);

        public void Dispose() => _learner.Dispose();

        private void Read()
        {
            ReadOnlySpan<byte> segment = _text.At(_random.Next(1 << 20), 1 + _random.Next(_losses.Length));
            _learner.Read(segment, _losses.AsSpan(0, segment.Length));
        }
    }
}
