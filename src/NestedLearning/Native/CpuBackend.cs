namespace NestedLearning;

/// <summary>The <c>cpu</c> backend: C++ kernels, cut into pieces here and run on the .NET thread pool.</summary>
internal sealed class CpuBackendProvider : BackendProvider
{
    public override string Name => "cpu";

    public override int Preference => 10;

    public override BackendReport Probe() => new(Name, false, "not built yet");

    public override Backend Create() => throw new BackendUnavailableException(Probe().Detail);
}
