namespace NestedLearning;

/// <summary>
/// The one seam: the fused operations over buffers. Everything above it is the same for every backend, and nothing
/// above it knows which one runs. Arguments arrive validated (shapes, devices, ranges); a backend only computes.
/// <para>
/// Write modes, for every method: outputs and activation gradients are written (<c>=</c>); gradients of parameters
/// (weights, biases, gains, embedding tables) are added to (<c>+=</c>). Outputs do not overlap inputs unless the
/// method says so. Null output tensors are not wanted and not computed. Results never depend on the number of threads.
/// </para>
/// </summary>
public abstract partial class Backend : IDisposable
{
    /// <summary>The name it is opened by, such as <c>managed</c> or <c>cpu</c>.</summary>
    public abstract string Name { get; }

    /// <summary>What runs the kernels, such as the instruction set or the GPU's name.</summary>
    public abstract string Description { get; }

    /// <summary>The threads its host-side work may use.</summary>
    public WorkPool Work { get; } = new();

    /// <summary>To what products may round their operands.</summary>
    public TensorCores TensorCores { get; set; }

    /// <summary>
    /// Whether operations are done by threads of the host, the caller's and those of <see cref="Work"/>, on the host's memory: a call
    /// is done when it returns, and calls of several threads run at the same time. Elsewhere calls are queued and done one after the
    /// other; they may return before that, and only <see cref="Download"/> waits for them.
    /// </summary>
    public virtual bool RunsOnHost => false;

    /// <summary>The pool that tensors' memory comes from; null where a backend has none that says what it does.</summary>
    internal virtual MemoryPool? Memory => null;

    /// <summary>Takes memory for 32-bit elements; the contents are undefined.</summary>
    /// <exception cref="OutOfMemoryException">The device has not enough.</exception>
    public abstract TensorStorage Allocate(int length);

    /// <summary>Copies 32-bit elements from the host into the start of a storage.</summary>
    public abstract void Upload(ReadOnlySpan<float> source, TensorStorage destination);

    /// <summary>Copies 32-bit elements from the start of a storage to the host, after all work queued before.</summary>
    public abstract void Download(TensorStorage source, Span<float> destination);

    /// <summary>destination = source; equal counts.</summary>
    public abstract void Copy(Tensor source, Tensor destination);

    /// <summary>Sets every element.</summary>
    public abstract void Fill(Tensor tensor, float value);

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees what the backend holds.</summary>
    protected virtual void Dispose(bool disposing)
    {
    }
}
