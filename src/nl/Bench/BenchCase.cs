namespace NestedLearning.CommandLine.Bench;

/// <summary>One measured operation on one shape.</summary>
/// <param name="Name">As on the command line.</param>
/// <param name="Title">What it is, with its shape.</param>
/// <param name="Flops">The floating-point operations that it cannot do without; 0 where its bytes alone set the floor.</param>
/// <param name="Bytes">The bytes that it must move to and from memory; 0 where they stay in cache from call to call.</param>
/// <param name="Prepare">Makes the tensors and gives the call to be timed.</param>
internal sealed record BenchCase(string Name, string Title, double Flops, double Bytes, Func<BenchTensors, Action> Prepare)
{
    /// <summary>Every case, in the order of the table.</summary>
    public static IReadOnlyList<BenchCase> All { get; } = [.. ScanCases.All, .. AttentionCases.All, .. DenseCases.All, ScanCases.Token];

    /// <exception cref="CaseException">No case has that name.</exception>
    public static BenchCase Find(string name) => All.FirstOrDefault(c => c.Name == name)
        ?? throw new CaseException($"There is no case '{name}'; known are {string.Join(", ", All.Select(c => c.Name))}.");
}
