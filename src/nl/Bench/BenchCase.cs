namespace NestedLearning.CommandLine.Bench;

/// <summary>One measured operation on one shape.</summary>
/// <param name="Name">As on the command line.</param>
/// <param name="Title">What it is, with its shape.</param>
/// <param name="Flops">The floating-point operations that it cannot do without; 0 where its bytes alone set the floor.</param>
/// <param name="Bytes">The bytes that it must move to and from memory; 0 where they stay in cache from call to call.</param>
/// <param name="Prepare">Makes the tensors and gives the call to be timed.</param>
internal sealed record BenchCase(string Name, string Title, double Flops, double Bytes, Func<BenchTensors, Action> Prepare)
{
    /// <summary>The sizes alone, by which a result elsewhere is known to be of the same work; of large cases.</summary>
    public string? Size { get; init; }

    /// <summary>The tokens that a call reads or makes; 0 where it is no model.</summary>
    public int Tokens { get; init; }

    /// <summary>What its tokens are, in the plural.</summary>
    public string Unit { get; init; } = "tokens";

    /// <summary>Whether it is measured with one thread too.</summary>
    public bool AlsoOnOneThread { get; init; }

    /// <summary>Whether it has products, whose operands tensor cores may round.</summary>
    public bool HasProducts { get; init; }

    /// <summary>The same work on ordinary numbers, beside which it is measured; null where it has none.</summary>
    public Func<BenchTensors, Action>? Twin { get; init; }

    /// <summary>Every case, in the order of the table.</summary>
    public static IReadOnlyList<BenchCase> All { get; } =
    [
        .. ScanCases.All, .. MemoryCases.All, .. AttentionCases.All, .. DenseCases.All, .. RidgeCases.All, ScanCases.Token,
        .. IdleCases.All, .. ModelCases.All,
    ];

    /// <exception cref="CaseException">No case has that name.</exception>
    public static BenchCase Find(string name) => Find(name, All);

    /// <summary>The case of that name among some.</summary>
    /// <exception cref="CaseException">None has it.</exception>
    public static BenchCase Find(string name, IReadOnlyList<BenchCase> cases) => cases.FirstOrDefault(c => c.Name == name)
        ?? throw new CaseException($"There is no case '{name}'; known are {string.Join(", ", cases.Select(c => c.Name))}.");
}
