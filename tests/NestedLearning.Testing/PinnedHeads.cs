using System.Runtime.InteropServices;

namespace NestedLearning.Testing;

/// <summary>The heads of a case's arrays as rows, which stay where they are meanwhile: what the kernels in double take.</summary>
internal unsafe class PinnedHeads(int time, int heads) : IDisposable
{
    private readonly Dictionary<double[], GCHandle> _pinned = new(ReferenceEqualityComparer.Instance);

    /// <summary>Head (b, h) of [B, T, H, width].</summary>
    public Rows<double> Tokens(double[]? array, int head, int width) =>
        array is null ? default : new(Pin(array) + ((long)(head / heads) * time * heads + head % heads) * width, heads * width);

    /// <summary>Head (b, h) of [B, H, rows, columns].</summary>
    public Rows<double> State(double[]? array, int head, int rows, int columns) =>
        array is null ? default : new(Pin(array) + (long)head * rows * columns, columns);

    /// <summary>Memory for so many elements.</summary>
    public double* Scratch(nint length) => Pin(new double[length]);

    public void Dispose()
    {
        foreach (GCHandle handle in _pinned.Values)
            handle.Free();
        _pinned.Clear();
    }

    private double* Pin(double[] array)
    {
        if (!_pinned.TryGetValue(array, out GCHandle handle))
            _pinned.Add(array, handle = GCHandle.Alloc(array, GCHandleType.Pinned));
        return (double*)handle.AddrOfPinnedObject();
    }
}
