namespace NestedLearning;

/// <summary>Memory that was lost: its tensor was collected without having been disposed.</summary>
/// <param name="Elements">How many 32-bit elements it had.</param>
/// <param name="Origin">The stack where it was made, where <see cref="Device.TracksAllocations"/> was on.</param>
public readonly record struct LostTensor(int Elements, string? Origin);

/// <summary>A run of memory that a pool made, gives out and takes back, over and over.</summary>
/// <remarks>
/// It is the block that has a finalizer and not the storage that uses it. Blocks are made as seldom as memory is, so that a tensor which
/// is disposed costs nothing more. A block that is in the pool is reachable from there; one that is in use is reachable from its storage
/// alone, so that its finalizer runs when the tensors were lost.
/// </remarks>
internal abstract class MemoryBlock(MemoryPool pool) : IDisposable
{
    /// <summary>Whether a storage has it.</summary>
    public bool IsInUse { get; set; }

    /// <summary>The elements that were asked for.</summary>
    public int Length { get; set; }

    /// <summary>Where it was given out last, if that is tracked.</summary>
    public string? Origin { get; set; }

    /// <summary>The next in a list of the pool's.</summary>
    public MemoryBlock? Next { get; set; }

    /// <summary>Its size.</summary>
    public abstract long Bytes { get; }

    /// <summary>Gives the memory back to the system. The block has none from then on.</summary>
    public void Dispose()
    {
        GC.SuppressFinalize(this);
        Free();
    }

    /// <summary>Frees the memory.</summary>
    protected abstract void Free();

    /// <summary>Frees the memory where nobody else does: the pool was lost too, without having been disposed.</summary>
    protected abstract void Abandon();

    ~MemoryBlock()
    {
        if (!IsInUse)
        {
            Abandon();
            return;
        }

        GC.ReRegisterForFinalize(this);
        pool.TakeBackLost(this);
    }
}

/// <summary>What the memory pools of all backends share: what is kept, up to how much, and what was lost.</summary>
internal abstract class MemoryPool
{
    /// <summary>Bytes that may be in use before anybody looks for lost ones among them.</summary>
    internal const long LeastSearch = 256L << 20;

    // Of those that have no origin nothing more is known than how many there were.
    private const int MostReported = 1000;

    private readonly Lock _searching = new();
    private long _searchAt = LeastSearch;

    private readonly List<LostTensor> _lost = [];
    private long _lostCount;

    /// <summary>The most bytes that are kept for reuse.</summary>
    public long KeptLimit { get; set; } = long.MaxValue;

    /// <summary>Whether blocks remember where they were given out.</summary>
    public bool TracksAllocations { get; set; } =
        AppContext.TryGetSwitch(Device.TrackAllocationsSwitch, out bool isOn) && isOn;

    /// <summary>Bytes in use or kept.</summary>
    public abstract long AllocatedBytes { get; }

    /// <summary>Bytes kept for reuse.</summary>
    public abstract long KeptBytes { get; }

    /// <summary>Called before memory is given out. Tests let it throw as if there were none.</summary>
    internal Action? BeforeTake { get; set; }

    /// <summary>How often lost memory was looked for.</summary>
    internal int Searches { get; private set; }

    /// <summary>How many blocks were lost so far.</summary>
    public long LostCount => Interlocked.Read(ref _lostCount);

    /// <summary>The last of them.</summary>
    public LostTensor[] Lost
    {
        get
        {
            lock (_lost)
                return [.. _lost];
        }
    }

    /// <summary>The name of the backend, for reports.</summary>
    public string Owner { get; set; } = "";

    /// <summary>Gives what is kept back to the system.</summary>
    public abstract void Trim();

    /// <summary>Takes back memory that is in use no more.</summary>
    public abstract void Return(MemoryBlock block);

    /// <summary>Takes back what its tensors forgot to return. Called by the finalizer.</summary>
    public void TakeBackLost(MemoryBlock block)
    {
        var lost = new LostTensor(block.Length, block.Origin);
        Interlocked.Increment(ref _lostCount);
        lock (_lost)
        {
            if (_lost.Count == MostReported)
                _lost.RemoveAt(0);
            _lost.Add(lost);
        }

        BackendEvents.Log.Lost(Owner, lost);
        Return(block);
    }

    /// <summary>
    /// Looks for lost memory, if taking this many bytes more makes those in use twice what they were when it was last looked for. The
    /// collector sees the small objects of a tensor and not its memory, and may not run for a long time.
    /// </summary>
    /// <returns>Whether it looked, so that there may be kept memory that was not there before.</returns>
    protected bool FindsLost(long bytes)
    {
        if (InUse + bytes <= Interlocked.Read(ref _searchAt))
            return false;
        lock (_searching)
        {
            if (InUse + bytes > Interlocked.Read(ref _searchAt))
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                Searches++;
                Interlocked.Exchange(ref _searchAt, Math.Max(LeastSearch, 2 * (InUse + bytes)));
            }
        }

        return true;
    }

    private long InUse => AllocatedBytes - KeptBytes;

    /// <summary>Notes for whom a block is given out.</summary>
    protected void GiveOut(MemoryBlock block, int length)
    {
        block.Length = length;
        block.Origin = TracksAllocations ? Environment.StackTrace : null;
        block.IsInUse = true;
    }
}
