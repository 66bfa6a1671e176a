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
    // Below this many operations waking another thread costs more than it saves.
    private const long SerialOperations = 1 << 16;
    private int _threads = Environment.ProcessorCount;

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

        var job = new Job<TAction>(pieces, action);
        for (int i = 0; i < helpers; i++)
            ThreadPool.UnsafeQueueUserWorkItem(job, preferLocal: false);
        job.Execute();
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

    private sealed class Job<TAction>(int pieces, TAction action) : IThreadPoolWorkItem
        where TAction : struct, IPieceAction
    {
        private int _next;
        private int _done;
        private ExceptionDispatchInfo? _failure;

        public void Execute()
        {
            TAction local = action;
            for (int piece; (piece = Interlocked.Increment(ref _next) - 1) < pieces;)
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

                if (Interlocked.Increment(ref _done) == pieces)
                {
                    lock (this)
                        Monitor.PulseAll(this);
                }
            }
        }

        // Only pieces that were begun are waited for: a helper that never got a thread costs nothing, so nested
        // calls cannot deadlock on a full thread pool.
        public void Wait()
        {
            var spin = new SpinWait();
            for (int i = 0; i < 40 && Volatile.Read(ref _done) < pieces; i++)
                spin.SpinOnce(sleep1Threshold: -1);
            lock (this)
            {
                while (Volatile.Read(ref _done) < pieces)
                    Monitor.Wait(this);
            }

            _failure?.Throw();
        }
    }
}
