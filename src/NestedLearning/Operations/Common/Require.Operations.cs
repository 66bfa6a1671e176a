using System.Numerics.Tensors;
using System.Runtime.CompilerServices;

namespace NestedLearning;

// What several operations ask of their tensors.
internal static partial class Require
{
    public static void Given(Tensor first, Tensor second)
    {
        ArgumentNullException.ThrowIfNull(first);
        ArgumentNullException.ThrowIfNull(second);
        OnDevice(second, first.Device);
    }

    /// <summary>
    /// That decays are: log α ≤ 0 (NaN comes through). Where calls are queued, the elements are not at hand without waiting for the
    /// device, and are not looked at.
    /// </summary>
    public static void Decays(Tensor? logAlpha, string name = "log_alpha")
    {
        if (logAlpha is null || logAlpha.Count == 0 || !logAlpha.Device.Backend.RunsOnHost)
            return;
        float largest = TensorPrimitives.MaxNumber<float>(logAlpha.Span);
        if (largest > 0)
            throw new ArgumentException(Readable.Text($"{name} has {largest}, expected at most 0: a decay α is at most 1."), name);
    }

    public static void Count(Tensor? tensor, int count, string name)
    {
        if (tensor is not null && tensor.Count != count)
            throw new ArgumentException($"{name} has shape {tensor.Shape}, expected {count} elements.", name);
    }

    public static void OneEach<TSettings>(int tensors, ReadOnlySpan<TSettings> settings, Span<CommitChange> changes)
    {
        if (settings.Length != tensors)
            throw new ArgumentException($"There are {settings.Length} settings, expected one for each of {tensors} tensors.",
                nameof(settings));
        if (changes.Length != 0 && changes.Length != tensors)
            throw new ArgumentException($"There is room for {changes.Length} changes, expected none or {tensors}.", nameof(changes));
    }

    /// <summary>One target for each row, each a class or −1.</summary>
    public static void Targets(IndexTensor targets, int rows, int classes)
    {
        if (targets.Count != rows)
            throw new ArgumentException($"There are {targets.Count} targets, expected {rows}.", nameof(targets));
        Indices(targets, -1, classes, "target");
    }

    /// <summary>One element for each row, on the device.</summary>
    public static void OneForEachRow(Tensor tensor, int rows, Device device, [CallerArgumentExpression(nameof(tensor))] string? name = null)
    {
        ArgumentNullException.ThrowIfNull(tensor, name);
        OnDevice(tensor, device, name);
        Count(tensor, rows, name!);
    }

    public static void Indices(IndexTensor indices, int low, int high, string what)
    {
        int outside = indices.Minimum < low ? indices.Minimum : indices.Maximum;
        if (indices.Count > 0 && (outside < low || outside >= high))
            throw new ArgumentOutOfRangeException(what, outside, $"A {what} is {outside}, expected {low} to {high - 1}.");
    }
}
