using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>Tensors whose bytes no span of bytes can hold: 2²⁹ elements and more.</summary>
public sealed class LargeTensorTests
{
    private const int Count = (1 << 29) + 3;

    [Fact]
    public void Elements_AreFilledCopiedAndMoved()
    {
        // Two tensors of 2 GiB, of which each element is touched.
        long free = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes - GC.GetGCMemoryInfo().MemoryLoadBytes;
        Assert.SkipWhen(free < 7L << 30, $"This needs 5 GiB of memory, and {free >> 30} GiB are free.");
        // Memory is the same of both backends on the host.
        string backend = Device.Probe().Any(r => r is { Name: "cpu", Available: true }) ? "cpu" : "managed";
        using var device = Device.Open(backend);
        using Tensor tensor = device.Full([Count], 2);
        Assert.Equal((2, 2), (tensor.Span[0], tensor.Span[^1]));
        tensor.Span[^1] = 3;
        tensor.Span[1 << 29] = 4;
        using Tensor copy = device.Empty([Count]);
        copy.CopyFrom(tensor.Span);
        Assert.Equal((2, 4, 3), (copy.Span[0], copy.Span[1 << 29], copy.Span[^1]));
        copy.Span[^1] = 5;
        copy.CopyTo(tensor.Span);
        Assert.Equal((4, 5), (tensor.Span[1 << 29], tensor.Span[^1]));
        tensor.Span[^1] = 6;
        copy.CopyFrom(tensor);
        Assert.Equal((4, 6), (copy.Span[1 << 29], copy.Span[^1]));
        device.Backend.Scale(copy, 0.5f);
        Assert.Equal((1, 2, 3), (copy.Span[0], copy.Span[1 << 29], copy.Span[^1]));
    }
}
