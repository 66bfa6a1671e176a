using NestedLearning.CommandLine.Streaming;
using NestedLearning.Models.Continual;

namespace NestedLearning.CommandLine.Continual;

/// <summary>What the user asked of <c>nl continual</c>.</summary>
internal sealed record ContinualSettings
{
    /// <summary>The seed that values are chosen on; it is not reported.</summary>
    public const ulong ValidationSeed = 0;

    private const int MostPhaseBytes = 100_000_000;

    public required string Benchmark { get; init; }

    /// <summary>The domain of each phase; null is the benchmark's own.</summary>
    public IReadOnlyList<string>? Order { get; init; }

    /// <summary>How many seeds are reported: 1, 2, …</summary>
    public int Seeds { get; init; } = 3;

    public int PhaseBytes { get; init; } = 131_072;

    /// <summary>The width of models.</summary>
    public int Dim { get; init; } = 128;

    /// <summary>Slots, for strategies that have them.</summary>
    public SlotSettings Slots { get; init; } = Strategy.DefaultSlots;

    /// <summary>Trials of each strategy's own search.</summary>
    public int Trials { get; init; } = 5;

    public IReadOnlyList<Strategy> Strategies { get; init; } = Strategy.All;

    /// <summary>Where the texts are; null looks for them.</summary>
    public string? Data { get; init; }

    /// <summary>The results as JSON; the runs are beside it as JSON lines.</summary>
    public required string Out { get; init; }

    /// <summary>The results as CSV; null is none.</summary>
    public string? Csv { get; init; }

    public bool Resume { get; init; }

    public bool Quiet { get; init; }

    /// <summary>One line a run.</summary>
    public string Lines => Path.ChangeExtension(Out, ".jsonl");

    public int HeldOutBytes => Math.Clamp(PhaseBytes / 16, 1024, 16_384);

    /// <exception cref="StreamException">A setting is out of its range; the message has its option.</exception>
    public void Validate()
    {
        if (Seeds is < 1 or > 1000)
            throw new StreamException($"--seeds is {Seeds}, expected 1 to 1000.");
        if (PhaseBytes is < PhaseStream.WarmBytes or > MostPhaseBytes)
            throw new StreamException($"--phase-bytes is {PhaseBytes}, expected {PhaseStream.WarmBytes} to {MostPhaseBytes}.");
        if (Trials is < 3 or > 100)
            throw new StreamException($"--trials is {Trials}, expected 3 to 100.");
        if (Dim is < 32 or > 4096 || Dim % 32 != 0)
            throw new StreamException($"--dim is {Dim}, expected a multiple of 32 up to 4096.");
        try
        {
            Slots.Validate();
        }
        catch (ArgumentException e)
        {
            throw new StreamException($"--slots, --probe-period: {e.Message}", e);
        }

        if (Strategies.Count == 0)
            throw new StreamException($"--strategies is empty, expected some of {Strategy.Names}.");
        if (Strategies.Distinct().Count() < Strategies.Count)
            throw new StreamException("--strategies has a name twice, expected each once.");
        if (Order is { Count: 0 })
            throw new StreamException("--order is empty, expected a domain for each phase.");
        if (Path.GetExtension(Out).Equals(".jsonl", StringComparison.OrdinalIgnoreCase))
            throw new StreamException($"--out is '{Out}', expected another name: the runs are kept in .jsonl beside it.");
    }
}
