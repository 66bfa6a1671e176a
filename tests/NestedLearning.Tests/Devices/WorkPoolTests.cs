using System.Diagnostics;
using Xunit;

namespace NestedLearning.Tests;

public sealed class WorkPoolTests
{
    private const long Much = 1 << 20;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(16)]
    public void EveryPiece_RunsOnce(int threads)
    {
        var pool = new WorkPool { Threads = threads };
        foreach (int pieces in (ReadOnlySpan<int>)[0, 1, 2, 3, 7, 1000])
        {
            int[] runs = new int[pieces];
            pool.For(pieces, Much, piece => Interlocked.Increment(ref runs[piece]));
            Assert.All(runs, r => Assert.Equal(1, r));
            Array.Clear(runs);
            pool.For(pieces, 0, piece => runs[piece]++);
            Assert.All(runs, r => Assert.Equal(1, r));
        }
    }

    [Fact]
    public void StructActions_RunOnce()
    {
        int[] runs = new int[100];
        new WorkPool { Threads = 3 }.For(runs.Length, Much, new Count(runs));
        Assert.All(runs, r => Assert.Equal(1, r));
    }

    [Fact]
    public void SmallWork_StaysOnTheCaller()
    {
        int caller = Environment.CurrentManagedThreadId;
        new WorkPool { Threads = 4 }.For(100, 1000, _ => Assert.Equal(caller, Environment.CurrentManagedThreadId));
        new WorkPool { Threads = 1 }.For(100, Much, _ => Assert.Equal(caller, Environment.CurrentManagedThreadId));
    }

    [Fact]
    public void Caller_IsAmongTheThreads()
    {
        // Two pieces that wait for each other: both threads are at work, and one of them is the caller.
        using var barrier = new Barrier(2);
        int[] ids = new int[2];
        new WorkPool { Threads = 2 }.For(2, Much, piece =>
        {
            ids[piece] = Environment.CurrentManagedThreadId;
            barrier.SignalAndWait();
        });
        Assert.NotEqual(ids[0], ids[1]);
        Assert.Contains(Environment.CurrentManagedThreadId, ids);
    }

    [Fact]
    public void EveryCall_FindsAHelper()
    {
        // Around the moment when an idle helper gives up looking; two pieces that wait for each other need one.
        var pool = new WorkPool { Threads = 2 };
        using var barrier = new Barrier(2);
        for (int call = 0; call < 2000; call++)
        {
            long pause = Stopwatch.Frequency * (call % 200) / 1_000_000, start = Stopwatch.GetTimestamp();
            while (Stopwatch.GetTimestamp() - start < pause)
                Thread.SpinWait(1);
            int met = 0;
            pool.For(2, Much, _ =>
            {
                if (barrier.SignalAndWait(TimeSpan.FromSeconds(30)))
                    Interlocked.Increment(ref met);
            });
            Assert.Equal(2, met);
        }
    }

    [Fact]
    public void NoMoreThreads_WorkAtOnceThanAllowed()
    {
        int running = 0, most = 0;
        new WorkPool { Threads = 3 }.For(500, Much, _ =>
        {
            int now = Interlocked.Increment(ref running);
            for (int seen = most; now > seen && Interlocked.CompareExchange(ref most, now, seen) != seen; seen = most)
            {
            }

            Thread.SpinWait(50);
            Interlocked.Decrement(ref running);
        });
        Assert.InRange(most, 1, 3);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    public void Exception_IsThrownAfterAllPiecesStopped(int threads)
    {
        var pool = new WorkPool { Threads = threads };
        int running = 0;
        for (int i = 0; i < 50; i++)
        {
            var thrown = new InvalidOperationException("piece 3");
            InvalidOperationException caught = Assert.Throws<InvalidOperationException>(() => pool.For(20, Much, piece =>
            {
                Interlocked.Increment(ref running);
                try
                {
                    if (piece == 3)
                        throw thrown;
                }
                finally
                {
                    Interlocked.Decrement(ref running);
                }
            }));
            Assert.Same(thrown, caught);
            Assert.Equal(0, Volatile.Read(ref running));
        }

        int sum = 0;
        pool.For(10, Much, piece => Interlocked.Add(ref sum, piece));
        Assert.Equal(45, sum);
    }

    [Fact]
    public void ExceptionsInAllPieces_GiveOne()
    {
        var pool = new WorkPool { Threads = 4 };
        for (int i = 0; i < 20; i++)
            Assert.Throws<ArithmeticException>(() => pool.For(30, Much, _ => throw new ArithmeticException()));
    }

    [Fact]
    public void NestedFor_RunsEveryPiece()
    {
        var pool = new WorkPool { Threads = 4 };
        int[] runs = new int[8 * 8 * 8];
        pool.For(8, Much, i => pool.For(8, Much, j => pool.For(8, Much, k => Interlocked.Increment(ref runs[(i * 8 + j) * 8 + k]))));
        Assert.All(runs, r => Assert.Equal(1, r));
    }

    [Fact]
    public void ExceptionInNestedFor_ComesOut()
    {
        var pool = new WorkPool { Threads = 3 };
        Assert.Throws<ArithmeticException>(() => pool.For(4, Much, i => pool.For(4, Much, j =>
        {
            if (i == 2 && j == 1)
                throw new ArithmeticException();
        })));
    }

    [Fact]
    public void CallsFromManyThreads_DoNotMix()
    {
        var pool = new WorkPool { Threads = 3 };
        int[][] runs = [.. Enumerable.Range(0, 8).Select(_ => new int[200])];
        Thread[] callers = [.. runs.Select(r => new Thread(() =>
        {
            for (int i = 0; i < 10; i++)
                pool.For(r.Length, Much, piece => Interlocked.Increment(ref r[piece]));
        }))];
        foreach (Thread caller in callers)
            caller.Start();
        foreach (Thread caller in callers)
            caller.Join();
        Assert.All(runs, r => Assert.All(r, count => Assert.Equal(10, count)));
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void ShortJobsOneAfterTheOther_RunEveryPieceOnce(int threads)
    {
        // Helpers stay for the next job, sleep in between and are woken: pauses are shorter and longer than they wait.
        var pool = new WorkPool { Threads = threads };
        Thread[] callers = [.. Enumerable.Range(0, 2).Select(_ => new Thread(() =>
        {
            int[] runs = new int[5];
            for (int job = 1; job <= 3000; job++)
            {
                pool.For(runs.Length, Much, piece => Interlocked.Increment(ref runs[piece]));
                if (Array.Exists(runs, r => r != job))
                    throw new InvalidOperationException($"After job {job} the pieces ran {string.Join(", ", runs)} times.");
                if (job % 500 == 0)
                    Thread.Sleep(1);
                else if (job % 7 == 0)
                    Thread.SpinWait(20 * (job % 100));
            }
        }))];
        foreach (Thread caller in callers)
            caller.Start();
        foreach (Thread caller in callers)
            caller.Join();
    }

    private readonly struct Count(int[] runs) : IPieceAction
    {
        public void Invoke(int piece) => Interlocked.Increment(ref runs[piece]);
    }
}
