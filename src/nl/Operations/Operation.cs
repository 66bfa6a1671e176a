namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// One operation of the black-box contract: it reads its inputs <c>in.*</c> and settings from a case, computes on the
/// case's device, and gives its results <c>out.*</c>. A new operation is one class and one line in <see cref="All"/>.
/// </summary>
internal abstract class Operation
{
    /// <summary>Allowed largest error of a result, relative to the largest element of what is expected.</summary>
    public const double ResultTolerance = 5e-5;

    /// <summary>The same for gradients, which go through about twice as many sums.</summary>
    public const double GradientTolerance = 2e-4;

    /// <summary>Every operation that this program has.</summary>
    public static IReadOnlyList<Operation> All { get; } =
    [
        new ScanOperation(),
        new ScanBackwardOperation(frozen: false),
        new ScanFrozenOperation(),
        new ScanBackwardOperation(frozen: true),
        new SelfModifyingOperation(),
        new SelfModifyingMemoriesOperation(),
        new SelfModifyingMemoriesBackwardOperation(),
        new DeepMemoryOperation(),
        new DeepMemoryBackwardOperation(),
        new RidgeOperation(),
        new MixtureOperation(),
        new AttentionOperation(),
        new AttentionBackwardOperation(),
        new GemmOperation(),
        new BatchedGemmOperation(),
        new NewtonSchulzOperation(),
        new NormOperation(),
        new NormBackwardOperation(),
        new CausalConvolutionOperation(),
        new CausalConvolutionBackwardOperation(),
        new ActivationOperation(),
        new ActivationBackwardOperation(),
        ElementwiseOperation.AddScaled,
        ElementwiseOperation.Multiply,
        ElementwiseOperation.Scale,
        ElementwiseOperation.SumOfSquares,
        ElementwiseOperation.ColumnSum,
        ElementwiseOperation.CopyTokens,
        ElementwiseOperation.Rotate,
        new EmbeddingOperation(),
        new EmbeddingBackwardOperation(),
        new CrossEntropyOperation(),
        new CrossEntropyBackwardOperation(),
        new CrossEntropyWithGradientOperation(),
        new LinearCrossEntropyOperation(),
        new LinearCrossEntropyBackwardOperation(),
        new LinearCrossEntropyWithGradientOperation(),
        new AdamOperation("adam", decoupled: false),
        new AdamOperation("adamw", decoupled: true),
        new GemmAdamOperation(),
        new MomentCommitOperation(),
        OptimizerOperation.DeltaMomentum,
        OptimizerOperation.M3,
        new DeltaGradientDescentOperation(),
        new CommitOperation(),
    ];

    /// <summary>What a case's metadata calls it.</summary>
    public abstract string Name { get; }

    /// <summary>The allowed largest error of its results; see <see cref="TensorError"/>.</summary>
    public virtual double Tolerance => ResultTolerance;

    /// <summary>Computes the results of one case.</summary>
    /// <exception cref="CaseException">An input or setting is missing or wrong.</exception>
    public abstract void Run(OperationRun run);

    /// <summary>The operation of a name, or null.</summary>
    public static Operation? Find(string name) => All.FirstOrDefault(o => o.Name == name);
}
