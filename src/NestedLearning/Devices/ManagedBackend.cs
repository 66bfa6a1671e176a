using System.Numerics;

namespace NestedLearning;

/// <summary>The portable backend: plain C#, always there, no native code.</summary>
internal sealed partial class ManagedBackend : HostBackend
{
    public override string Name => "managed";

    public override string Description => $"C#, {Vector<byte>.Count * 8}-bit vectors";
}

internal sealed class ManagedBackendProvider : BackendProvider
{
    public override string Name => "managed";

    public override int Preference => 0;

    public override BackendReport Probe()
    {
        using Backend backend = Create();
        return new BackendReport(Name, true, backend.Description);
    }

    public override Backend Create() => new ManagedBackend();
}
