using NestedLearning.Native;

namespace NestedLearning;

/// <summary>The <c>cpu</c> backend: C++ kernels, cut into pieces here and run on the .NET thread pool.</summary>
internal sealed unsafe partial class CpuBackend : HostBackend
{
    public override string Name => "cpu";

    public override string Description
    {
        get
        {
            string current = KernelLibrary.CurrentTarget;
            string[] others = [.. KernelLibrary.Targets.Where(t => t.Supported && t.Name != current).Select(t => t.Name).Reverse()];
            string also = others.Length == 0 ? "" : $"; also {string.Join(", ", others)}";
            string name = current switch { "AVX3" => "AVX-512 (AVX3)", "SCALAR" => "plain C++ (SCALAR)", _ => current };
            string? obstacle = KernelLibrary.AmxObstacle(ask: false);
            // Only beside AVX-512 is AMX something to expect.
            string without = current == "AVX3" && obstacle is not null ? $"; no AMX: {obstacle}" : "";
            return $"C++ kernels, {name}{(obstacle is null ? " with AMX" : "")}{also}{without}";
        }
    }

    private static float* PointerOrNull(Tensor? tensor) => tensor is null ? null : tensor.Pointer;
}

internal sealed class CpuBackendProvider : BackendProvider
{
    public override string Name => "cpu";

    public override int Preference => 10;

    public override BackendReport Probe()
    {
        if (KernelLibrary.Failure is string failure)
            return new BackendReport(Name, false, failure);
        // Whoever probes wants to know what the operating system says, which is asked for its permission by this.
        _ = KernelLibrary.AmxObstacle(ask: true);
        using Backend backend = new CpuBackend();
        return new BackendReport(Name, true, backend.Description);
    }

    public override Backend Create() => KernelLibrary.Failure is not string failure ? new CpuBackend()
        : KernelLibrary.IsRefused ? throw new ArgumentException(failure)
        : throw new BackendUnavailableException(failure);
}
