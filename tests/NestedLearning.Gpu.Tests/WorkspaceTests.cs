using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Gpu.Tests;

/// <summary>What operations take of a device's memory beside their tensors.</summary>
public abstract class WorkspaceTests(string backend) : BackendTests(backend)
{
    [Fact]
    public void SelfModifyingMemories_TakeNoMoreForMoreChunks()
    {
        (long forward, long backward) = Taken(chunks: 2);
        Assert.True(forward > 0 && backward > 0, $"{forward} and {backward} elements");
        Assert.Equal((forward, backward), Taken(chunks: 20));
    }

    // Elements that a device's pool grows by in each pass, all tensors being there before.
    private (long Forward, long Backward) Taken(int chunks)
    {
        const int Chunk = 4, Dim = 5, Columns = 3 * Dim + 2;
        Device device = Device.Open(Device.Name);
        var settings = new SelfModifyingSettings(Chunk, MemoryObjective.L2, ScanRead.Before, 0.3f, -1, 1, NormalizeValues: true);
        Shape tokens = [1, chunks * Chunk, 1, Dim], state = [1, 1, Dim, Columns];
        Tensor states = New([1, 1, chunks, Dim, Columns]);
        var inputs = new SelfModifyingInputs { X = New(tokens), Q = New(tokens), S0 = New(state) };
        var outputs = new SelfModifyingOutputs { O = New(tokens), S = New(state), ChunkStates = states, ChunkStart = New(state) };
        var upstream = new SelfModifyingOutputGradients(New(tokens), New(state), New(state));
        var gradients = new SelfModifyingGradients { X = New(tokens), Q = New(tokens), S0 = New(state) };
        long before = Allocated();
        SelfModifying.Forward(inputs, settings, outputs);
        long between = Allocated();
        SelfModifying.Backward(inputs, settings, states, upstream, gradients);
        long after = Allocated();
        device.Dispose();
        return (between - before, after - between);

        long Allocated() => ((IlgpuBackend)device.Backend).AllocatedElements;

        Tensor New(Shape shape) => Track(device.Full(shape, 0.1f));
    }
}

public sealed class OpenClWorkspaceTests() : WorkspaceTests("opencl");
