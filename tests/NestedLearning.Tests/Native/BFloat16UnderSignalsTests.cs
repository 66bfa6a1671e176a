using System.Globalization;
using System.Runtime.InteropServices;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>
/// Products of bfloat16 operands, by AMX where it is there, on many threads, while these are stopped for collections, get signals
/// and run into null references, which .NET handles on a small stack of its own for each thread.
/// </summary>
public sealed partial class BFloat16UnderSignalsTests() : BackendTests("cpu")
{
    // The smallest that AMX is used for, and more rows than its tiles have.
    private const int M = 70, N = 256, K = 256;
    private const int Workers = 4, Rounds = 40;
    private const int WindowChanged = 28;

    [Fact]
    public void Products_AreRight_WhileThreadsAreStoppedAndSignalled()
    {
        var data = new TestData(3);
        float[] a = data.Normal(M * K), b = data.Normal(K * N);
        float[] expected = Product(a, b, new float[M * N]);
        Device.Threads = 2;

        int received = 0;
        using PosixSignalRegistration? registration = OperatingSystem.IsLinux()
            ? PosixSignalRegistration.Create(PosixSignal.SIGWINCH, _ => Interlocked.Increment(ref received))
            : null;
        using var stop = new CancellationTokenSource();
        var disturbances = new List<Thread>
        {
            Start(() => Repeat(() => GC.Collect(0, GCCollectionMode.Forced, blocking: true), stop.Token)),
        };
        if (registration is not null)
            disturbances.Add(Start(() => Repeat(SignalEveryThread, stop.Token)));

        int wrong = 0, caught = 0;
        var failures = new List<Exception>();
        Thread[] workers = [.. Enumerable.Range(0, Workers).Select(_ => Start(() =>
        {
            try
            {
                float[] result = new float[M * N];
                for (int round = 0; round < Rounds; round++)
                {
                    if (!Product(a, b, result).AsSpan().SequenceEqual(expected))
                        Interlocked.Increment(ref wrong);
                    if (MeetsNull(null))
                        Interlocked.Increment(ref caught);
                }
            }
            catch (Exception e)
            {
                lock (failures)
                    failures.Add(e);
            }
        }))];
        foreach (Thread worker in workers)
            worker.Join();
        stop.Cancel();
        foreach (Thread disturbance in disturbances)
            disturbance.Join();

        Assert.Empty(failures);
        Assert.Equal(0, wrong);
        Assert.Equal(Workers * Rounds, caught);
        if (registration is not null)
            Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref received) > 0, TimeSpan.FromSeconds(10)), "No signal was handled.");
    }

    // The stacks that took the place of .NET's for AMX go when their threads end.
    [Fact]
    public void Threads_MayEndAndNullsBeMetAfterwards()
    {
        var data = new TestData(3);
        float[] a = data.Normal(M * K), b = data.Normal(K * N);
        float[] expected = Product(a, b, new float[M * N]);
        for (int i = 0; i < 50; i++)
        {
            float[] result = [];
            bool caught = false;
            Start(() =>
            {
                result = Product(a, b, new float[M * N]);
                caught = MeetsNull(null);
            }).Join();
            Assert.Equal(expected, result);
            Assert.True(caught);
        }

        Assert.True(MeetsNull(null));
    }

    private static Thread Start(ThreadStart body)
    {
        var thread = new Thread(body);
        thread.Start();
        return thread;
    }

    private static void Repeat(Action action, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
            action();
    }

    // A null reference that the processor notices: the runtime's handler of SIGSEGV makes an exception of it.
    private static bool MeetsNull(int[]? numbers)
    {
        try
        {
            return numbers!.Length > int.MaxValue - 1;
        }
        catch (NullReferenceException)
        {
            return true;
        }
    }

    // Those of the process, of the thread pool and of the runtime among them.
    private static void SignalEveryThread()
    {
        foreach (string task in Directory.EnumerateDirectories("/proc/self/task"))
            _ = SendTo(Environment.ProcessId, int.Parse(Path.GetFileName(task), CultureInfo.InvariantCulture), WindowChanged);
    }

    [LibraryImport("libc", EntryPoint = "tgkill")]
    private static partial int SendTo(int process, int thread, int signal);

    private float[] Product(float[] a, float[] b, float[] result)
    {
        using Tensor left = Device.From([M, K], a), right = Device.From([K, N], b), c = Device.Full([M, N], float.NaN);
        Backend.Gemm(new GemmArguments { A = left, B = right, C = c, Precision = GemmPrecision.BFloat16 });
        c.CopyTo(result);
        return result;
    }
}
