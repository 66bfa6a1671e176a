using System.Diagnostics.Tracing;
using System.Runtime.CompilerServices;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>What every backend does with memory, whatever its kernels.</summary>
public abstract class BackendMemoryTests(string backend) : BackendTests(backend)
{
    private const int Count = 100_000;

    [Fact]
    public void Device_RunsTheBackendItNames()
    {
        BackendReport report = Device.Probe().Single(r => r.Name == Device.Name);
        Assert.True(report.Available);
        Assert.Equal(report.Detail, Device.Description);
    }

    [Fact]
    public void Elements_GoInAndComeOut()
    {
        float[] elements = new TestData(1).Normal(35);
        elements[3] = float.NaN;
        elements[4] = float.NegativeInfinity;
        elements[5] = -0f;
        elements[6] = float.Epsilon;
        using Tensor tensor = Device.From([5, 7], elements);
        Compare.SameBits("tensor", tensor.ToArray(), elements);
        using Tensor copy = tensor.Clone();
        tensor.Fill(2);
        Compare.SameBits("copy", copy.ToArray(), elements);
        Assert.All(tensor.ToArray(), x => Assert.Equal(2f, x));
    }

    [Fact]
    public void LostTensors_GoBackToThePool()
    {
        Lose(10);
        Collect();
        Assert.Equal(10, Device.LostTensors.Count);
        Assert.All(Device.LostTensors, l => Assert.Equal((Count, null), (l.Elements, l.Origin)));
        for (int i = 0; i < 5; i++)
        {
            Lose(10);
            Collect();
            Assert.Equal(Device.AllocatedBytes, Device.KeptBytes);
        }

        Assert.Equal(60, Device.LostTensors.Count);
        // A pool's memory is up to twice what was asked for; some may be found and used again before all are lost.
        Assert.InRange(Device.AllocatedBytes, Count * sizeof(float), 10L * 2 * Count * sizeof(float));
    }

    [LargeFact]
    public void LostTensors_AreLookedFor_BeforeTheyAreMany()
    {
        // 4 GiB in 4,000 tensors, whose managed objects, half a megabyte, give the collector no reason to run.
        Lose(4000, 1 << 18);
        Assert.InRange(Device.AllocatedBytes, 0, MemoryPool.LeastSearch + (16L << 20));
        Assert.True(Device.LostTensors.Count > 0);
    }

    [LargeFact]
    public void TensorsInUse_AreNotSearchedAgainAndAgain()
    {
        var tensors = new List<Tensor>();
        try
        {
            for (int i = 0; i < 1700; i++)
                tensors.Add(Device.Zeros([1 << 18]));
            // With 256 MiB and each time twice as many.
            Assert.Equal(3, Device.Backend.Memory!.Searches);
        }
        finally
        {
            tensors.ForEach(t => t.Dispose());
            Device.Trim();
        }
    }

    [Fact]
    public void DisposedTensors_AreNotLost_NorThoseInUse()
    {
        using Tensor tensor = Device.Full([Count], 3), part = tensor.Reshape([2, Count / 2]);
        DisposeOne();
        Collect();
        Assert.Empty(Device.LostTensors);
        Assert.All(tensor.ToArray(), e => Assert.Equal(3, e));
        tensor.Dispose();
        Collect();
        Assert.Empty(Device.LostTensors);
        Assert.All(part.ToArray(), e => Assert.Equal(3, e));

        [MethodImpl(MethodImplOptions.NoInlining)]
        void DisposeOne() => Device.Full([Count], 1).Dispose();
    }

    [Fact]
    public void LostTensors_SayWhereTheyWereMade_IfTracked()
    {
        using var listener = new LossListener();
        Device.TracksAllocations = true;
        Lose(1);
        Collect();
        LostTensor lost = Assert.Single(Device.LostTensors);
        Assert.Contains(nameof(Lose), lost.Origin, StringComparison.Ordinal);
        Assert.Contains(listener.Seen, s => s.StartsWith($"{Device.Name}, {Count}", StringComparison.Ordinal));
    }

    [Fact]
    public void Trim_GivesKeptMemoryBack_AndTensorsKeepTheirs()
    {
        using Tensor kept = Device.Full([Count], 2);
        long before = Device.AllocatedBytes;
        Assert.True(before >= Count * sizeof(float), $"{before} bytes");
        Device.Full([8 * Count], 1).Dispose();
        Assert.True(Device.KeptBytes >= 8 * Count * sizeof(float), $"{Device.KeptBytes} bytes");
        Device.Trim();
        Assert.Equal((before, 0), (Device.AllocatedBytes, Device.KeptBytes));
        Assert.All(kept.ToArray(), e => Assert.Equal(2, e));
        using Tensor again = Device.Full([8 * Count], 4);
        Assert.Equal(4, again.ToArray()[^1]);
    }

    [Fact]
    public void KeptLimit_IsKeptTo()
    {
        Device.Full([Count], 1).Dispose();
        long one = Device.KeptBytes;
        Device.KeptLimit = 2 * one;
        Assert.Equal(2 * one, Device.KeptLimit);
        Tensor[] tensors = [.. Enumerable.Range(0, 5).Select(_ => Device.Full([Count], 1))];
        foreach (Tensor tensor in tensors)
            tensor.Dispose();
        Assert.Equal((2 * one, 2 * one), (Device.KeptBytes, Device.AllocatedBytes));
        Device.KeptLimit = 0;
        Assert.Equal((0, 0), (Device.KeptBytes, Device.AllocatedBytes));
        Device.Full([Count], 1).Dispose();
        Assert.Equal(0, Device.KeptBytes);
        Assert.Contains("KeptLimit is -1, expected at least 0",
            Assert.Throws<ArgumentOutOfRangeException>(() => Device.KeptLimit = -1).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void DisposedTensor_IsGivenBackWhenItsOperationEnds()
    {
        Tensor tensor = Device.Full([Count], 5);
        using (Held.All(tensor))
        {
            tensor.Dispose();
            Assert.True(tensor.IsDisposed);
            Assert.Equal(0, Device.KeptBytes);
            using Tensor other = Device.Full([Count], 6);
        }

        Assert.Equal(Device.AllocatedBytes, Device.KeptBytes);
        Assert.Throws<ObjectDisposedException>(() => Held.All(tensor).Dispose());
        Assert.Throws<ObjectDisposedException>(() => tensor.Reshape([Count]));
    }

    [LargeFact]
    public void MemoryOfAnOperation_IsNobodyElses_WhoeverDisposesItsTensors()
    {
        const int Large = 1 << 20;
        using Tensor x = Device.Full([Large], 1);
        int refused = 0;
        for (int run = 0; run < 100; run++)
        {
            Tensor y = Device.Full([Large], 0);
            using var together = new Barrier(2);
            var operation = Task.Run(() =>
            {
                together.SignalAndWait();
                try
                {
                    for (int i = 0; i < 4; i++)
                        Elementwise.AddScaled(1, x, y);
                }
                catch (ObjectDisposedException)
                {
                    refused++;
                }
            });
            together.SignalAndWait();
            Thread.SpinWait(200 * (run % 20));
            y.Dispose();
            using Tensor z = Device.Full([Large], 7);
            operation.Wait();
            Assert.All(z.ToArray(), e => Assert.Equal(7, e));
        }

        Assert.True(refused > 0 || !Backend.RunsOnHost, "no operation met a tensor that was disposed");
    }

    [Theory]
    [MemberData(nameof(OperationNames))]
    public void Operation_RefusesADisposedTensor(string operation)
    {
        AxisOperation tested = AxisOperations.All.Single(o => o.Name == operation);
        int tensors;
        using (var run = new AxisRun(Device, tested, "") { Disposed = -1 })
        {
            tested.Run(run);
            tensors = run.Made;
        }

        for (int i = 0; i < tensors; i++)
        {
            using var run = new AxisRun(Device, tested, "") { Disposed = i };
            Assert.Throws<ObjectDisposedException>(() => tested.Run(run));
        }

        Assert.True(tensors > 0);
    }

    public static TheoryData<string> OperationNames() => [.. AxisOperations.All.Select(o => o.Name)];

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Lose(int count, int elements = Count)
    {
        for (int i = 0; i < count; i++)
            _ = Device.Full([elements], i);
    }

    private static void Collect()
    {
        for (int i = 0; i < 2; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }

    private sealed class LossListener : EventListener
    {
        private readonly List<string> _seen = [];

        public string[] Seen
        {
            get
            {
                lock (_seen)
                    return [.. _seen];
            }
        }

        protected override void OnEventSourceCreated(EventSource eventSource)
        {
            if (eventSource.Name == BackendEvents.SourceName)
                EnableEvents(eventSource, EventLevel.Warning);
        }

        protected override void OnEventWritten(EventWrittenEventArgs eventData)
        {
            if (eventData.Level != EventLevel.Warning)
                return;
            lock (_seen)
                _seen.Add(string.Join(", ", eventData.Payload ?? new([])));
        }
    }
}

public sealed class ManagedBackendMemoryTests() : BackendMemoryTests("managed");

public sealed class CpuBackendMemoryTests() : BackendMemoryTests("cpu");
