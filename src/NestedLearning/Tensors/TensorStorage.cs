namespace NestedLearning;

/// <summary>
/// A run of 32-bit elements in a device's memory, shared by the tensors that view it and returned to the device's
/// pool when the last of them is disposed, or was lost, and no operation uses it any more. Backends derive from it; nothing else looks
/// inside.
/// </summary>
public abstract class TensorStorage
{
    private int _references = 1;

    /// <summary>The number of 32-bit elements that may be used.</summary>
    public abstract int Length { get; }

    /// <summary>
    /// Elements <paramref name="start"/> to <paramref name="start"/> + <paramref name="length"/> − 1, which keep this memory alive.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">They are not all in it.</exception>
    public abstract TensorStorage Part(int start, int length);

    /// <summary>
    /// The same elements and so many more behind them, up to <paramref name="length"/>, in the same memory: for sequences that
    /// grow, such as a cache of keys. Only the first that asks gets what is behind; null where it is taken or does not suffice.
    /// </summary>
    internal virtual TensorStorage? Extend(int length) => null;

    /// <exception cref="ObjectDisposedException">Nobody refers to it any more.</exception>
    internal void AddReference()
    {
        int references = Volatile.Read(ref _references);
        for (int seen; ; references = seen)
        {
            ObjectDisposedException.ThrowIf(references == 0, this);
            seen = Interlocked.CompareExchange(ref _references, references + 1, references);
            if (seen == references)
                return;
        }
    }

    internal void Release()
    {
        if (Interlocked.Decrement(ref _references) != 0)
            return;
        if (OperationUses.Hold(this))
            OperationUses.FreeLater(this);
        else
            Free();
    }

    /// <summary>Frees what could not be freed before.</summary>
    internal void FreeNow() => Free();

    /// <summary>Gives the memory back. Called once, when no tensor views it and no operation uses it any more.</summary>
    protected abstract void Free();
}
