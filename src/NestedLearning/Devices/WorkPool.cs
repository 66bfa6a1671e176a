using System.Diagnostics;
using System.Runtime.ExceptionServices;

namespace NestedLearning;

/// <summary>A body run once for each piece of work. A struct, so that the call is direct.</summary>
public interface IPieceAction
{
    /// <summary>Does one piece.</summary>
    void Invoke(int piece);
}

/// <summary>
/// Runs independent pieces of work on the .NET thread pool, at most <see cref="Threads"/> at once, the caller among
/// them. Callers cut work into pieces by its shape alone, never by the number of threads, so results do not depend
/// on it.
/// </summary>
public sealed class WorkPool
{
    // Below this many operations sharing them out costs more than it saves.
    private const long SerialOperations = 1 << 16;

    // A thread of the .NET pool sleeps when it has nothing to do, and to wake it takes as long as many an operation. So one
    // that has helped looks for the next work for a while, and a caller for the end of its own, before either sleeps.
    private static readonly long s_patience = Stopwatch.Frequency / 20_000;

    private int _threads = Environment.ProcessorCount;
    private Job? _newest;
    private int _looking;

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
        // Before the threads that look are counted: one that stops looking looks once more after it is counted out.
        Interlocked.Exchange(ref _newest, job);
        for (int i = Volatile.Read(ref _looking); i < helpers; i++)
            ThreadPool.UnsafeQueueUserWorkItem(job, preferLocal: false);
        job.Run(helps: false);
        Interlocked.CompareExchange(ref _newest, null, job);
        job.Wait();
    }

    /// <summary>Whether the caller would do all of this work itself.</summary>
    internal bool StaysOnCaller(int pieces, long operations) => operations < SerialOperations || Math.Min(_threads, pieces) <= 1;

    /// <summary>Runs a delegate for each piece; see <see cref="For{TAction}(int, long, TAction)"/>.</summary>
    public void For(int pieces, long operations, Action<int> body) => For(pieces, operations, new DelegateAction(body));

    // Helps with one job after the other until there has been none for a while.
    private void Help(Job? job)
    {
        while (job is not null)
        {
            if (!job.Run(helps: true))
                Interlocked.Increment(ref _looking);
            job = Look(job);
        }
    }

    // The next job, or null; the caller is counted among those that look.
    private Job? Look(Job last)
    {
        long until = Stopwatch.GetTimestamp() + s_patience;
        do
        {
            if (Volatile.Read(ref _newest) is { } job && job != last)
            {
                Interlocked.Decrement(ref _looking);
                return job;
            }

            Thread.SpinWait(8);
        }
        while (Stopwatch.GetTimestamp() < until);

        Interlocked.Decrement(ref _looking);
        return Volatile.Read(ref _newest) is { } late && late != last ? late : null;
    }

    private readonly struct DelegateAction(Action<int> body) : IPieceAction
    {
        public void Invoke(int piece) => body(piece);
    }

    private abstract class Job(WorkPool pool) : IThreadPoolWorkItem
    {
        protected WorkPool Pool => pool;

        public void Execute() => pool.Help(this);

        /// <summary>Does pieces until none is left.</summary>
        /// <returns>Whether the thread is counted among those that look for work: a helper is, before its last piece counts as done.</returns>
        public abstract bool Run(bool helps);
    }

    private sealed class Job<TAction>(WorkPool pool, int pieces, int helpers, TAction action) : Job(pool)
        where TAction : struct, IPieceAction
    {
        private int _next;
        private int _done;
        private int _helpers;
        private ExceptionDispatchInfo? _failure;

        public override bool Run(bool helps)
        {
            // More may look for work than are wanted.
            if (helps && Interlocked.Increment(ref _helpers) > helpers)
                return false;
            TAction local = action;
            bool looks = false;
            for (int piece = Next(), next; piece < pieces; piece = next)
            {
                try
                {
                    if (_failure is null)
                        local.Invoke(piece);
                }
                catch (Exception e)
                {
                    Interlocked.CompareExchange(ref _failure, ExceptionDispatchInfo.Capture(e), null);
                }

                // So the caller finds it when it comes with its next job at once.
                next = Next();
                if (helps && next >= pieces)
                {
                    Interlocked.Increment(ref Pool._looking);
                    looks = true;
                }

                if (Interlocked.Increment(ref _done) == pieces)
                {
                    lock (this)
                        Monitor.PulseAll(this);
                }
            }

            return looks;
        }

        // Only pieces that were begun are waited for: a helper that never got a thread costs nothing, so nested
        // calls cannot deadlock on a full thread pool.
        public void Wait()
        {
            for (long until = Stopwatch.GetTimestamp() + s_patience; Volatile.Read(ref _done) < pieces && Stopwatch.GetTimestamp() < until;)
                Thread.SpinWait(8);
            if (Volatile.Read(ref _done) < pieces)
            {
                lock (this)
                {
                    while (Volatile.Read(ref _done) < pieces)
                        Monitor.Wait(this);
                }
            }

            _failure?.Throw();
        }

        private int Next() => Interlocked.Increment(ref _next) - 1;
    }
}
