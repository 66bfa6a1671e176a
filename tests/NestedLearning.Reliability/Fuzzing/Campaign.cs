using System.Diagnostics;
using System.Security.Cryptography;

namespace NestedLearning.Reliability.Fuzzing;

/// <summary>
/// Runs targets on inputs. An input fails when an exception is not a refusal, when it takes longer than <see cref="Longest"/>, or more
/// memory than its length allows. The input being run stands in a file, so that one that ends the process is known too.
/// </summary>
internal sealed class Campaign
{
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(10);

    private readonly Instrumentation _coverage = new();
    private readonly FuzzTarget _target;
    private readonly string _found;
    private readonly FileStream _current;
    private readonly List<byte[]> _inputs = [];
    private long _started, _runs;
    private int _failures;

    private Campaign(FuzzTarget target, string found)
    {
        _target = target;
        _found = Directory.CreateDirectory(Path.Combine(found, target.Name)).FullName;
        _current = new FileStream(Path.Combine(_found, "current"), FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 0);
    }

    public static int Run(TimeSpan time, string corpus, string found, string[] names)
    {
        Instrumentation.Begin();
        int failures = 0;
        foreach (FuzzTarget target in Targets(names))
            failures += new Campaign(target, found).Run(time, Kept(corpus, target));
        return failures == 0 ? 0 : 1;
    }

    private static IEnumerable<FuzzTarget> Targets(string[] names) =>
        names.Length == 0 ? FuzzTarget.All : names.Select(name => FuzzTarget.All.FirstOrDefault(t => t.Name == name)
            ?? throw new ArgumentException($"There is no target '{name}', expected " +
                $"{string.Join(", ", FuzzTarget.All.Select(t => t.Name))}."));

    private static IEnumerable<byte[]> Kept(string corpus, FuzzTarget target)
    {
        string folder = Path.Combine(corpus, target.Name);
        return Directory.Exists(folder) ? Directory.GetFiles(folder).Order(StringComparer.Ordinal).Select(File.ReadAllBytes) : [];
    }

    private int Run(TimeSpan time, IEnumerable<byte[]> kept)
    {
        using var watchdog = new Timer(_ => StopWhatHangs(), null, 1000, 1000);
        foreach (byte[] input in _target.Seeds().Concat(kept))
        {
            Try(input);
            _inputs.Add(input);
        }

        int began = _inputs.Count;
        var mutator = new Mutator(_target.Words, seed: Environment.TickCount);
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed < time && _failures < 10)
        {
            // Those found last are tried more often.
            byte[] input = _inputs[Math.Max(mutator.Random.Next(_inputs.Count), mutator.Random.Next(_inputs.Count))];
            byte[] changed = _target.Repair(mutator.Change(input, _inputs[mutator.Random.Next(_inputs.Count)]), mutator.Random);
            if (Try(changed))
            {
                _inputs.Add(changed);
                Write("new", changed);
            }
        }

        Console.WriteLine($"{_target.Name}: {_runs:N0} inputs, {_inputs.Count - began} of them reached something new, " +
            $"{_coverage.Branches:N0} branches, {_failures} failed");
        _current.Dispose();
        File.Delete(_current.Name);
        return _failures;
    }

    /// <summary>Whether an input reached something new.</summary>
    private bool Try(byte[] input)
    {
        _current.Position = 0;
        _current.Write(input);
        _current.SetLength(input.Length);
        Instrumentation.Clear();
        _runs++;
        long allocated = GC.GetAllocatedBytesForCurrentThread();
        Volatile.Write(ref _started, Stopwatch.GetTimestamp());
        try
        {
            _target.Run(input);
        }
        catch (Exception e) when (_target.IsRefusal(e))
        {
        }
        catch (Exception e)
        {
            Fail(input, e.ToString());
        }

        Volatile.Write(ref _started, 0);
        allocated = GC.GetAllocatedBytesForCurrentThread() - allocated + _target.DeviceBytes();
        if (allocated > _target.MayAllocate(input.Length))
            Fail(input, $"it allocated {allocated} bytes, at most {_target.MayAllocate(input.Length)} were expected " +
                $"of {input.Length} bytes");
        return _coverage.IsNew();
    }

    private void StopWhatHangs()
    {
        long started = Volatile.Read(ref _started);
        if (started != 0 && Stopwatch.GetElapsedTime(started) > Longest)
            Environment.FailFast($"{_target.Name}: an input took longer than {Longest.TotalSeconds} s: {_current.Name}");
    }

    private void Fail(byte[] input, string why)
    {
        _failures++;
        Console.Error.WriteLine($"{_target.Name}: {Write("failed", input)}: {why}");
    }

    private string Write(string kind, byte[] input)
    {
        string folder = Directory.CreateDirectory(Path.Combine(_found, kind)).FullName;
        string file = Path.Combine(folder, Convert.ToHexStringLower(SHA256.HashData(input))[..16]);
        File.WriteAllBytes(file, input);
        return file;
    }
}
