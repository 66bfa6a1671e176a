using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public sealed class TensorTests : IDisposable
{
    private readonly Device _device = Device.Open("managed");

    public void Dispose() => _device.Dispose();

    [Fact]
    public void NewTensors_HoldWhatTheyAreMadeOf()
    {
        using Tensor zeros = _device.Zeros([3]), full = _device.Full([2], 1.5f), from = _device.From([2, 1], [1, 2]),
            scalar = _device.From([], [7]);
        Assert.Equal([0f, 0, 0], zeros.ToArray());
        Assert.Equal([1.5f, 1.5f], full.ToArray());
        Assert.Equal([1f, 2], from.ToArray());
        Assert.Equal([7f], scalar.ToArray());
        Assert.Equal(2, from.Count);
        Assert.Same(_device, from.Device);
        Assert.Equal("float32 [2, 1] on managed", from.ToString());
    }

    [Fact]
    public void EmptyTensors_AreAllowed()
    {
        using Tensor empty = _device.From([0, 4], []);
        Assert.Empty(empty.ToArray());
        empty.Fill(1);
        using Tensor copy = empty.Clone();
        Assert.Equal(0, copy.Count);
    }

    [Fact]
    public unsafe void Memory_IsAlignedToCacheLines()
    {
        foreach (int length in (ReadOnlySpan<int>)[0, 1, 15, 16, 17, 100, 4097])
        {
            using Tensor tensor = _device.Empty([length]), next = _device.Empty([length]);
            Assert.Equal(0, (nint)tensor.Pointer % 64);
            Assert.True(Math.Abs(next.Pointer - tensor.Pointer) >= Math.Max(16, length));
        }
    }

    [Fact]
    public void WrongLengths_AreRefused()
    {
        using Tensor tensor = _device.From([2, 3], new float[6]);
        Assert.Contains("[2, 3] has 6 elements, got 5", Assert.Throws<ArgumentException>(() => _device.From([2, 3], new float[5])).Message,
            StringComparison.Ordinal);
        Assert.Contains("source has 5", Assert.Throws<ArgumentException>(() => tensor.CopyFrom(new float[5])).Message,
            StringComparison.Ordinal);
        Assert.Contains("destination has 7", Assert.Throws<ArgumentException>(() => tensor.CopyTo(new float[7])).Message,
            StringComparison.Ordinal);
        Assert.Contains("[7] has 7", Assert.Throws<ArgumentException>(() => tensor.Reshape([7])).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => _device.FromIndices([2], [1]));
    }

    [Fact]
    public void Copies_AreApart()
    {
        using Tensor tensor = _device.From([2], [1, 2]);
        using Tensor clone = tensor.Clone(), target = _device.Zeros([2]);
        target.CopyFrom(tensor);
        tensor.Fill(9);
        Assert.Equal([1f, 2], clone.ToArray());
        Assert.Equal([1f, 2], target.ToArray());
        using Tensor other = _device.Zeros([2, 1]);
        Assert.Throws<ArgumentException>(() => other.CopyFrom(tensor));
        using Device device = Device.Open("managed");
        using Tensor elsewhere = device.Zeros([2]);
        Assert.Throws<ArgumentException>(() => elsewhere.CopyFrom(tensor));
    }

    [Fact]
    public void Reshaped_SharesMemoryUntilBothAreDisposed()
    {
        Tensor tensor = _device.From([2, 3], [1, 2, 3, 4, 5, 6]);
        Tensor view = tensor.Reshape([3, 2]);
        view.Span[5] = 60;
        Assert.Equal(60, tensor.Span[5]);
        tensor.Dispose();
        using (Tensor other = _device.Full([2, 3], -1))
            Assert.Equal([1f, 2, 3, 4, 5, 60], view.ToArray());
        view.Dispose();
        Assert.Throws<ObjectDisposedException>(() => view.ToArray());
    }

    [Fact]
    public void DisposedTensor_CannotBeUsed()
    {
        Tensor tensor = _device.Zeros([2]);
        using Tensor other = _device.Zeros([2]);
        Assert.False(tensor.IsDisposed);
        tensor.Dispose();
        tensor.Dispose();
        Assert.True(tensor.IsDisposed);
        Assert.Throws<ObjectDisposedException>(() => tensor.Span.Length);
        Assert.Throws<ObjectDisposedException>(() => tensor.ToArray());
        Assert.Throws<ObjectDisposedException>(() => tensor.Fill(1));
        Assert.Throws<ObjectDisposedException>(() => tensor.CopyFrom([1f, 2]));
        Assert.Throws<ObjectDisposedException>(() => tensor.CopyFrom(other));
        Assert.Throws<ObjectDisposedException>(() => other.CopyFrom(tensor));
        Assert.Throws<ObjectDisposedException>(() => tensor.Clone());
        Assert.Throws<ObjectDisposedException>(() => tensor.Reshape([2]));
        Assert.Throws<ObjectDisposedException>(() => tensor.Storage);
    }

    [Fact]
    public void DisposingTwice_GivesMemoryBackOnce()
    {
        Tensor tensor = _device.Zeros([100]);
        tensor.Dispose();
        tensor.Dispose();
        using Tensor a = _device.Full([100], 1), b = _device.Full([100], 2);
        Assert.All(a.ToArray(), x => Assert.Equal(1, x));
        Assert.All(b.ToArray(), x => Assert.Equal(2, x));
    }

    [Fact]
    public unsafe void FreedMemory_IsTakenAgain()
    {
        Tensor first = _device.Empty([1000]);
        float* pointer = first.Pointer;
        first.Dispose();
        using Tensor second = _device.Empty([600]);
        Assert.True(pointer == second.Pointer);
    }

    [Fact]
    public void Tensor_MayOutliveItsDevice()
    {
        Device device = Device.Open("managed");
        Tensor kept = device.Full([3], 2), pooled = device.Zeros([3]);
        pooled.Dispose();
        device.Dispose();
        Assert.Equal([2f, 2, 2], kept.Span.ToArray());
        kept.Dispose();
    }

    [Fact]
    public void Indices_GoInAndComeOut()
    {
        IndexTensor tensor = _device.FromIndices([2, 2], [1, -1, int.MaxValue, int.MinValue]);
        Assert.Equal([2, 2], tensor.Shape);
        Assert.Equal(4, tensor.Count);
        Assert.Equal([1, -1, int.MaxValue, int.MinValue], tensor.ToArray());
        Assert.Equal(-1, tensor.Span[1]);
        tensor.Dispose();
        tensor.Dispose();
        Assert.Throws<ObjectDisposedException>(() => tensor.ToArray());
        Assert.Throws<ObjectDisposedException>(() => tensor.Span.Length);
    }
}
