namespace NestedLearning;

/// <summary>
/// The storages that one thread's operations use at the moment. What is in here is not given back to its pool, whoever disposes its
/// tensors meanwhile: it is when the operation has ended.
/// </summary>
/// <remarks>
/// An operation writes what it uses down and then makes sure that every thread sees that, before it reads an address (a tensor that is
/// disposed by then throws there). Whoever disposes a tensor has made that visible before it looks in here. One of the two sees the other.
/// So an operation pays plain stores and one fence, and no count that threads with weights in common would write in turn.
/// </remarks>
internal sealed class OperationUses
{
    private static readonly Lock s_lock = new();
    private static readonly List<TensorStorage> s_later = [];
    private static OperationUses[] s_all = [];
    private static int s_laterCount;

    [ThreadStatic]
    private static Registration? t_registration;

    private Slot[] _slots = new Slot[64];
    private int _count;

    /// <summary>The calling thread's.</summary>
    public static OperationUses Current => (t_registration ??= new Registration()).Uses;

    /// <summary>How many there are.</summary>
    public int Count => _count;

    /// <summary>Whether an operation of any thread uses the storage.</summary>
    public static bool Hold(TensorStorage storage)
    {
        foreach (OperationUses uses in Volatile.Read(ref s_all))
        {
            int count = Volatile.Read(ref uses._count);
            if (count == 0)
                continue;
            Slot[] slots = Volatile.Read(ref uses._slots);
            count = Math.Min(count, slots.Length);
            for (int i = 0; i < count; i++)
            {
                if (ReferenceEquals(Volatile.Read(ref slots[i].Storage), storage))
                    return true;
            }
        }

        return false;
    }

    /// <summary>Frees a storage that nobody refers to once no operation uses it.</summary>
    public static void FreeLater(TensorStorage storage)
    {
        lock (s_lock)
        {
            s_later.Add(storage);
            Volatile.Write(ref s_laterCount, s_later.Count);
        }

        // The operation may have ended in between.
        FreeUnused();
    }

    /// <summary>Writes down what an operation uses.</summary>
    public void Add(TensorStorage storage)
    {
        if (_count == _slots.Length)
        {
            Slot[] more = new Slot[2 * _slots.Length];
            _slots.CopyTo(more, 0);
            Volatile.Write(ref _slots, more);
        }

        Volatile.Write(ref _slots[_count].Storage, storage);
        Volatile.Write(ref _count, _count + 1);
    }

    /// <summary>Forgets all but the first so many.</summary>
    public void KeepFirst(int count)
    {
        // No longer rooted here, so that what was lost is found.
        for (int i = _count - 1; i >= count; i--)
            _slots[i].Storage = null;
        Volatile.Write(ref _count, count);
        if (Volatile.Read(ref s_laterCount) != 0)
            FreeUnused();
    }

    private static void FreeUnused()
    {
        TensorStorage[] unused;
        lock (s_lock)
        {
            unused = [.. s_later.Where(s => !Hold(s))];
            s_later.RemoveAll(s => Array.IndexOf(unused, s) >= 0);
            Volatile.Write(ref s_laterCount, s_later.Count);
        }

        foreach (TensorStorage storage in unused)
            storage.FreeNow();
    }

    // No type check when one is stored, as an array of storages would have.
    private struct Slot
    {
        public TensorStorage? Storage;
    }

    // Goes with its thread.
    private sealed class Registration
    {
        public OperationUses Uses { get; } = new();

        public Registration()
        {
            lock (s_lock)
                Volatile.Write(ref s_all, [.. s_all, Uses]);
        }

        ~Registration()
        {
            lock (s_lock)
                Volatile.Write(ref s_all, [.. s_all.Where(u => u != Uses)]);
        }
    }
}

/// <summary>
/// The tensors that an operation uses from its checks to its end. They are not given back before that, though another thread disposes
/// them; one that is disposed already throws.
/// </summary>
internal readonly ref struct Held
{
    private readonly int _first;

    private Held(OperationUses uses)
    {
        Uses = uses;
        _first = uses.Count;
    }

    /// <summary>Where a list of tensors writes down what it checks.</summary>
    public OperationUses Uses { get; }

    /// <summary>An operation that adds its tensors, then calls <see cref="Publish"/>.</summary>
    public static Held Begin() => new(OperationUses.Current);

    /// <summary>An operation on these tensors, of which some may not be given.</summary>
    /// <exception cref="ObjectDisposedException">One is disposed.</exception>
    public static Held All(params ReadOnlySpan<Tensor?> tensors)
    {
        Held held = Begin();
        try
        {
            foreach (Tensor? tensor in tensors)
                held.Add(tensor);
        }
        catch
        {
            held.Dispose();
            throw;
        }

        Publish();
        return held;
    }

    /// <summary>An operation on these tensors and indices.</summary>
    /// <exception cref="ObjectDisposedException">One is disposed.</exception>
    public static Held All(IndexTensor indices, params ReadOnlySpan<Tensor?> tensors)
    {
        Held held = All(tensors);
        try
        {
            held.Uses.Add(indices.Storage);
        }
        catch
        {
            held.Dispose();
            throw;
        }

        Publish();
        return held;
    }

    /// <summary>An operation on indices alone.</summary>
    /// <exception cref="ObjectDisposedException">They are disposed.</exception>
    public static Held All(IndexTensor indices) => All(indices, []);

    /// <summary>One more tensor, unless it is null.</summary>
    /// <exception cref="ObjectDisposedException">It is disposed.</exception>
    public void Add(Tensor? tensor)
    {
        if (tensor is not null)
            Uses.Add(tensor.Storage);
    }

    /// <summary>Makes sure that every thread sees what is used, before any address of it is read.</summary>
    public static void Publish() => Interlocked.MemoryBarrier();

    /// <summary>The operation has ended.</summary>
    public void Dispose() => Uses.KeepFirst(_first);
}
