using System.Collections.Concurrent;
using System.Diagnostics.Tracing;
using System.Globalization;

namespace NestedLearning;

/// <summary>
/// What backends tell of their work, as events of the source <c>NestedLearning</c>: <c>dotnet-trace collect --providers
/// NestedLearning</c> and any <see cref="EventListener"/> of the process see them. Where nobody listens, nothing is done.
/// </summary>
[EventSource(Name = SourceName)]
internal sealed class BackendEvents : EventSource
{
    /// <summary>The source's name.</summary>
    public const string SourceName = "NestedLearning";

    private const int FallbackId = 1;
    private const int TensorLostId = 2;

    private readonly ConcurrentDictionary<(string Backend, string Operation, string Reason), bool> _told = [];

    private BackendEvents()
    {
    }

    /// <summary>The one source of the process.</summary>
    public static BackendEvents Log { get; } = new();

    /// <summary>
    /// A backend's faster kernels do not take an operation, and its general ones do it. An event is written the first time that an
    /// operation is refused for a reason, and again for those who begin to listen later.
    /// </summary>
    /// <param name="backend">The backend's name.</param>
    /// <param name="operation">The method of <see cref="Backend"/>, such as <see cref="Backend.ScanForward"/>.</param>
    /// <param name="reason">Why, in words, with the numbers that decided.</param>
    [NonEvent]
    public void FellBack(string backend, string operation, string reason)
    {
        if (IsEnabled(EventLevel.Informational, EventKeywords.None) && _told.TryAdd((backend, operation, reason), true))
            Fallback(backend, operation, reason);
    }

    /// <summary>A tensor was collected without having been disposed; its memory is back in the pool.</summary>
    /// <param name="backend">The backend's name.</param>
    /// <param name="lost">What is known of it.</param>
    [NonEvent]
    public void Lost(string backend, LostTensor lost)
    {
        if (IsEnabled(EventLevel.Warning, EventKeywords.None))
            TensorLost(backend, lost.Elements.ToString(CultureInfo.InvariantCulture), lost.Origin ?? "");
    }

    /// <inheritdoc/>
    protected override void OnEventCommand(EventCommandEventArgs command)
    {
        ArgumentNullException.ThrowIfNull(command);
        if (command.Command == EventCommand.Enable)
            _told.Clear();
    }

    [Event(TensorLostId, Level = EventLevel.Warning, Message = "A tensor of {1} elements on '{0}' was not disposed: {2}")]
    private void TensorLost(string backend, string elements, string origin) => WriteEvent(TensorLostId, backend, elements, origin);

    [Event(FallbackId, Level = EventLevel.Informational, Message = "{1} of backend '{0}' runs on general kernels: {2}")]
    private void Fallback(string backend, string operation, string reason) => WriteEvent(FallbackId, backend, operation, reason);
}
