using System.Runtime.InteropServices;

namespace NestedLearning;

/// <summary>What the two CPU backends share: tensors live in host memory.</summary>
public abstract partial class HostBackend : Backend
{
    // Elements of one piece, 256 KiB: a copy is worth a second thread where memory, not a cache, is what it waits for.
    private const int CopyPiece = 1 << 16;

    private readonly HostMemoryPool _pool = new();

    /// <inheritdoc/>
    internal sealed override MemoryPool Memory => _pool;

    /// <inheritdoc/>
    public sealed override bool RunsOnHost => true;

    /// <inheritdoc/>
    public override TensorStorage Allocate(int length) => new HostStorage(_pool, length);

    /// <inheritdoc/>
    public override unsafe void Upload(ReadOnlySpan<float> source, TensorStorage destination)
    {
        ArgumentNullException.ThrowIfNull(destination);
        source.CopyTo(new Span<float>(((HostStorage)destination).Pointer, destination.Length));
    }

    /// <inheritdoc/>
    public override unsafe void Download(TensorStorage source, Span<float> destination)
    {
        ArgumentNullException.ThrowIfNull(source);
        new ReadOnlySpan<float>(((HostStorage)source).Pointer, destination.Length).CopyTo(destination);
    }

    /// <inheritdoc/>
    public override unsafe void Copy(Tensor source, Tensor destination)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(destination);
        if (source.Count <= CopyPiece)
            source.Span.CopyTo(destination.Span);
        else
            Work.For(Pieces(source.Count, CopyPiece), source.Count,
                new CopyAction(source.Pointer, destination.Pointer, source.Count));
    }

    /// <inheritdoc/>
    public override unsafe void Fill(Tensor tensor, float value)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        if (tensor.Count <= CopyPiece)
            tensor.Span.Fill(value);
        else
            Work.For(Pieces(tensor.Count, CopyPiece), tensor.Count, new FillAction(tensor.Pointer, value, tensor.Count));
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        _pool.Dispose();
        base.Dispose(disposing);
    }

    /// <summary>Pieces of so many, the last one perhaps shorter.</summary>
    private protected static int Pieces(int count, int block) => (int)(((long)count + block - 1) / block);

    private readonly unsafe struct CopyAction(float* source, float* destination, int count) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int first = piece * CopyPiece, length = Math.Min(CopyPiece, count - first);
            new ReadOnlySpan<float>(source + first, length).CopyTo(new Span<float>(destination + first, length));
        }
    }

    private readonly unsafe struct FillAction(float* elements, float value, int count) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int first = piece * CopyPiece;
            new Span<float>(elements + first, Math.Min(CopyPiece, count - first)).Fill(value);
        }
    }
}

/// <summary>A thread's own scratch memory for a kernel, 64-byte aligned, kept between calls.</summary>
internal static unsafe class Scratch
{
    [ThreadStatic]
    private static Block? t_block;

    /// <summary>At least this many floats, undefined contents, valid until this thread asks again.</summary>
    public static float* Take(nint length)
    {
        Block block = t_block ??= new Block();
        if (block.Length < length)
            block.Grow(length);
        return block.Pointer;
    }

    private sealed class Block
    {
        public float* Pointer;
        public nint Length;

        public void Grow(nint length)
        {
            NativeMemory.AlignedFree(Pointer);
            Pointer = null;
            Length = 0;
            Pointer = (float*)NativeMemory.AlignedAlloc((nuint)length * sizeof(float), 64);
            Length = length;
        }

        ~Block() => NativeMemory.AlignedFree(Pointer);
    }
}
