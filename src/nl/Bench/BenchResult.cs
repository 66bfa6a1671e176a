using System.Text.Json;

namespace NestedLearning.CommandLine.Bench;

/// <summary>What was measured of a case.</summary>
internal sealed record BenchResult(BenchCase Measured, int Threads, double Milliseconds, MachineLimits Limits)
{
    /// <summary>Whether the case is counted in flops; else in bytes.</summary>
    public bool CountsFlops => Measured.Flops > 0;

    /// <summary>10⁹ flops, or bytes, a second.</summary>
    public double Rate => (CountsFlops ? Measured.Flops : Measured.Bytes) / Milliseconds * 1e-6;

    /// <summary>The least time the machine could take over the time it took: 1 is the limit.</summary>
    public double ShareOfFloor => Limits.Floor(Measured) / Milliseconds;

    public string ToJson() => JsonSerializer.Serialize(new Dictionary<string, object>
    {
        ["name"] = Measured.Name,
        ["threads"] = Threads,
        ["median_ms"] = Milliseconds,
        [CountsFlops ? "gflops" : "gbs"] = Rate,
        ["share_of_floor"] = ShareOfFloor,
    });

    public override string ToString() =>
        FormattableString.Invariant($"{Measured.Name,-22} {Threads,7} {Milliseconds,12:F4} {Rate,9:F1} {(CountsFlops ? "GFLOP/s" : "GB/s"),-7} {ShareOfFloor,8:P0}  {Measured.Title}");
}
