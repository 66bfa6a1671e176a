using System.Text.Encodings.Web;
using System.Text.Json;

namespace NestedLearning.CommandLine.Bench;

/// <summary>What was measured of a case.</summary>
internal sealed record BenchResult(BenchCase Measured, int Threads, double Milliseconds, MachineLimits Limits)
{
    private static readonly JsonSerializerOptions s_json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Whether the case is counted in flops; else in bytes.</summary>
    public bool CountsFlops => Measured.Flops > 0;

    /// <summary>10⁹ flops, or bytes, a second.</summary>
    public double Rate => (CountsFlops ? Measured.Flops : Measured.Bytes) / Milliseconds * 1e-6;

    /// <summary>The least time the machine could take over the time it took: 1 is the limit.</summary>
    public double ShareOfFloor => Limits.Floor(Measured) / Milliseconds;

    /// <summary>The median time of its twin, in turns with it; null where it has none.</summary>
    public double? TwinMilliseconds { get; init; }

    /// <summary>To what the operands of products could be rounded.</summary>
    public TensorCores TensorCores { get; init; }

    public string ToJson()
    {
        var fields = new Dictionary<string, object>
        {
            ["name"] = Measured.Name,
            ["threads"] = Threads,
            ["median_ms"] = Milliseconds,
        };
        if (Measured.Tokens > 0)
            fields[Measured.Unit + "_per_s"] = TokensPerSecond;
        else
            fields[CountsFlops ? "gflops" : "gbs"] = Rate;
        if (HasFloor)
            fields["share_of_floor"] = ShareOfFloor;

        if (TwinMilliseconds is { } twin)
        {
            fields["ordinary_ms"] = twin;
            fields["ratio"] = Milliseconds / twin;
        }

        if (Measured.Size is { } size)
        {
            fields["title"] = Measured.Title;
            fields["size"] = size;
            fields["products"] = TensorCores == TensorCores.None ? "float32" : TensorCores.ToString().ToLowerInvariant();
        }

        return JsonSerializer.Serialize(fields, s_json);
    }

    public override string ToString()
    {
        string rate = Measured.Tokens > 0
            ? FormattableString.Invariant($"{TokensPerSecond,9:F0} {Measured.Unit + "/s",-8}")
            : FormattableString.Invariant($"{Rate,9:F1} {(CountsFlops ? "GFLOP/s" : "GB/s"),-8}");
        string share = HasFloor ? FormattableString.Invariant($"{ShareOfFloor,8:P0}") : "";
        string work = Measured.Title + (Measured.Size is null ? "" : ", " + Measured.Size)
            + (TensorCores == TensorCores.None ? "" : $", {TensorCores} allowed");
        if (TwinMilliseconds is { } twin)
            work += FormattableString.Invariant($": {Milliseconds / twin:F2} times its ordinary time");
        return FormattableString.Invariant($"{Measured.Name,-22} {Threads,7} {Milliseconds,12:F4} {rate}{share,8}  {work}");
    }

    // Of a case without flops and bytes nothing is known.
    private bool HasFloor => Measured.Flops > 0 || Measured.Bytes > 0;

    private double TokensPerSecond => Measured.Tokens / Milliseconds * 1e3;
}
