using System.Collections.Concurrent;
using System.Diagnostics.Tracing;

namespace NestedLearning.Cuda.Tests;

/// <summary>What an operation of a backend told of falling back.</summary>
internal sealed record Fallback(string Operation, string Reason);

/// <summary>Listens to the source NestedLearning, as any program can.</summary>
internal sealed class FallbackListener : EventListener
{
    private readonly ConcurrentQueue<(string Backend, Fallback Fallback)> _events = [];

    /// <summary>What a backend told since this began to listen, in order.</summary>
    public IReadOnlyList<Fallback> Of(string backend) => [.. _events.Where(e => e.Backend == backend).Select(e => e.Fallback)];

    protected override void OnEventSourceCreated(EventSource eventSource)
    {
        if (eventSource.Name == "NestedLearning")
            EnableEvents(eventSource, EventLevel.Informational);
    }

    protected override void OnEventWritten(EventWrittenEventArgs eventData)
    {
        if (eventData is not { EventSource.Name: "NestedLearning", EventName: "Fallback", Payload: { } payload })
            return;
        Dictionary<string, string> values = eventData.PayloadNames!.Zip(payload.Cast<string>()).ToDictionary(p => p.First, p => p.Second);
        _events.Enqueue((values["backend"], new Fallback(values["operation"], values["reason"])));
    }
}
