namespace NestedLearning.CommandLine.Learn;

/// <summary>An experiment of <c>nl learn</c>: fixed data, fixed seeds, a table at the end.</summary>
internal abstract class LearnTask
{
    /// <summary>In the order of the help text.</summary>
    public static IReadOnlyList<LearnTask> All { get; } =
    [
        new RecallTask(),
        new CountingTask("parity", "parity of a string of bits", modulus: 2),
        new CountingTask("modular", "counting modulo 3", modulus: 3),
        new RegressionTask(),
        new ShiftTask(),
        new MetaTask(),
        new OptimizersTask(),
        new LevelsTask(),
    ];

    /// <summary>As the command line spells it.</summary>
    public abstract string Name { get; }

    /// <summary>What is learned, in a few words.</summary>
    public abstract string Title { get; }

    /// <summary>What a step is, and how many there are unless the command line says otherwise.</summary>
    public abstract int DefaultSteps { get; }

    /// <summary>Runs it and returns its tables.</summary>
    public abstract IReadOnlyList<LearnTable> Run(LearnRun run);

    /// <summary>The task of a name.</summary>
    /// <exception cref="CaseException">There is none.</exception>
    public static LearnTask Find(string name) => All.FirstOrDefault(t => t.Name == name)
        ?? throw new CaseException($"There is no task '{name}'; known are {string.Join(", ", All.Select(t => t.Name))}.");
}
