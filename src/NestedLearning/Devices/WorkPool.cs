using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace NestedLearning;

/// <summary>A body run once for each piece of work. A struct, so that the call is direct.</summary>
public interface IPieceAction
{
    /// <summary>Does one piece.</summary>
    void Invoke(int piece);
}

/// <summary>
/// Runs independent pieces of work on the .NET thread pool, at most <see cref="Threads"/> at once, the caller among
/// them. What a piece computes does not depend on the number of threads, nor on which of them runs it. Each thread begins with
/// its own share of the pieces, the same from call to call where it can be, so that what it wrote is still in its caches.
/// </summary>
public sealed class WorkPool
{
    // Below this many operations waking another thread costs more than it saves.
    private const long SerialOperations = 1 << 16;

    // A thread that sleeps takes tens of microseconds to wake up, as long as a small product: helpers look for the next call
    // for so long, and the caller for the last piece of its own.
    private static readonly long s_linger = Stopwatch.Frequency / 10_000, s_wait = Stopwatch.Frequency / 5_000;
    private static readonly int s_mostLingering = Environment.ProcessorCount - 1;

    private int _threads = Environment.ProcessorCount;
    private int _lingering;
    private Job? _offer;

    /// <summary>How many threads may work at once, at least 1. Starts as the number of processors.</summary>
    public int Threads
    {
        get => _threads;
        set
        {
            Require.Positive(value, nameof(Threads));
            _threads = value;
        }
    }

    /// <summary>Runs <paramref name="action"/> for pieces 0 to <paramref name="pieces"/> − 1 and returns when all are done.</summary>
    /// <param name="pieces">The number of pieces.</param>
    /// <param name="operations">Roughly how many scalar operations all pieces take together; small work stays on the caller.</param>
    /// <param name="action">What to do.</param>
    /// <exception cref="Exception">The first exception a piece threw, after all have stopped.</exception>
    public void For<TAction>(int pieces, long operations, TAction action)
        where TAction : struct, IPieceAction
    {
        int helpers = StaysOnCaller(pieces, operations) ? 0 : Math.Min(_threads, pieces) - 1;
        if (helpers <= 0)
        {
            for (int piece = 0; piece < pieces; piece++)
                action.Invoke(piece);
            return;
        }

        var job = new Job<TAction>(this, pieces, helpers, action);
        int looking = 0;
        if (Interlocked.CompareExchange(ref _offer, job, null) is null)
            looking = Volatile.Read(ref _lingering);
        for (int i = looking; i < helpers; i++)
            ThreadPool.UnsafeQueueUserWorkItem(job, preferLocal: false);
        job.Run(0);
        Interlocked.CompareExchange(ref _offer, null, job);
        job.Wait();
    }

    /// <summary>Whether the caller would do all of this work itself.</summary>
    internal bool StaysOnCaller(int pieces, long operations) => operations < SerialOperations || Math.Min(_threads, pieces) <= 1;

    /// <summary>Runs a delegate for each piece; see <see cref="For{TAction}(int, long, TAction)"/>.</summary>
    public void For(int pieces, long operations, Action<int> body) => For(pieces, operations, new DelegateAction(body));

    private readonly struct DelegateAction(Action<int> body) : IPieceAction
    {
        public void Invoke(int piece) => body(piece);
    }

    // Looks for further calls for a while. Whoever offers one looks at the count after that, and this thread at the offer after it
    // has left the count: one of them sees the other.
    private void Linger()
    {
        if (Interlocked.Increment(ref _lingering) <= s_mostLingering)
        {
            long until = Stopwatch.GetTimestamp() + s_linger;
            while (Stopwatch.GetTimestamp() < until && ThreadPool.PendingWorkItemCount == 0)
            {
                for (int i = 0; i < 16; i++)
                {
                    if (Volatile.Read(ref _offer) is { } offer && offer.TakeSeat())
                    {
                        Interlocked.Decrement(ref _lingering);
                        offer.RunAsHelper();
                        Interlocked.Increment(ref _lingering);
                        until = Stopwatch.GetTimestamp() + s_linger;
                        break;
                    }

                    Thread.SpinWait(2);
                }
            }
        }

        Interlocked.Decrement(ref _lingering);
        if (Volatile.Read(ref _offer) is { } last && last.TakeSeat())
            last.RunAsHelper();
    }

    // The pieces of one thread, alone in a cache line.
    [StructLayout(LayoutKind.Sequential, Size = 64)]
    private struct Share
    {
        public int Next;
        public int End;
    }

    private abstract class Job(WorkPool pool, int helpers) : IThreadPoolWorkItem
    {
        private int _seats = helpers;
        private int _begun;

        // Whether one more helper may take part.
        public bool TakeSeat() => Volatile.Read(ref _seats) > 0 && Interlocked.Decrement(ref _seats) >= 0;

        public void Execute()
        {
            if (TakeSeat())
                RunAsHelper();
            pool.Linger();
        }

        public void RunAsHelper() => Run(Interlocked.Increment(ref _begun));

        // thread: 0 for the caller, 1 to the number of helpers for them.
        public abstract void Run(int thread);
    }

    private sealed class Job<TAction> : Job
        where TAction : struct, IPieceAction
    {
        private readonly int _pieces;
        private readonly TAction _action;
        private readonly Share[] _shares;
        private int _done;
        private ExceptionDispatchInfo? _failure;

        public Job(WorkPool pool, int pieces, int helpers, TAction action)
            : base(pool, helpers)
        {
            _pieces = pieces;
            _action = action;
            _shares = new Share[helpers + 1];
            for (int i = 0; i < _shares.Length; i++)
            {
                _shares[i].Next = (int)((long)pieces * i / _shares.Length);
                _shares[i].End = (int)((long)pieces * (i + 1) / _shares.Length);
            }
        }

        // Its own share, then what others have left of theirs.
        public override void Run(int thread)
        {
            TAction local = _action;
            for (int i = 0; i < _shares.Length; i++)
            {
                ref Share share = ref _shares[(thread + i) % _shares.Length];
                while (Volatile.Read(ref share.Next) < share.End)
                {
                    int piece = Interlocked.Increment(ref share.Next) - 1;
                    if (piece < share.End)
                        Invoke(ref local, piece);
                }
            }
        }

        // Only pieces that were begun are waited for: a helper that never got a thread costs nothing, so nested
        // calls cannot deadlock on a full thread pool.
        public void Wait()
        {
            long until = Stopwatch.GetTimestamp() + s_wait;
            var spin = new SpinWait();
            while (Volatile.Read(ref _done) < _pieces && Stopwatch.GetTimestamp() < until)
                spin.SpinOnce(sleep1Threshold: -1);
            lock (this)
            {
                while (Volatile.Read(ref _done) < _pieces)
                    Monitor.Wait(this);
            }

            _failure?.Throw();
        }

        private void Invoke(ref TAction action, int piece)
        {
            try
            {
                if (_failure is null)
                    action.Invoke(piece);
            }
            catch (Exception e)
            {
                Interlocked.CompareExchange(ref _failure, ExceptionDispatchInfo.Capture(e), null);
            }

            if (Interlocked.Increment(ref _done) == _pieces)
            {
                lock (this)
                    Monitor.PulseAll(this);
            }
        }
    }
}
