namespace NestedLearning.Optimizers;

/// <summary>
/// An optimizer whose memory holds one or two numbers for each element of a parameter. The parameters of all such
/// optimizers that are due together commit in one fused pass, which measures the change and clears the error terms too.
/// </summary>
public abstract class ElementwiseOptimizer : Optimizer
{
    /// <summary>The name of the first moment in the state, or null where there is none.</summary>
    private protected virtual string? FirstMoment => null;

    /// <summary>The name of the second moment in the state, or null where there is none.</summary>
    private protected virtual string? SecondMoment => null;

    /// <summary>Whether every update starts from where the parameter was before the first commit.</summary>
    private protected virtual bool KeepsStart => false;

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">A setting is out of its range.</exception>
    public sealed override OptimizerMemory CreateMemory(Parameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        Validate();
        return new Memory(this, parameter);
    }

    /// <summary>The commit of a parameter at this learning rate; its gradient scale is set by the caller.</summary>
    private protected abstract MomentSettings Commit(float learningRate, bool decays);

    private sealed class Memory : OptimizerMemory
    {
        private readonly ElementwiseOptimizer _optimizer;
        private readonly Tensor? _first;
        private readonly Tensor? _second;
        private readonly Tensor? _start;

        public Memory(ElementwiseOptimizer optimizer, Parameter parameter)
            : base(optimizer)
        {
            _optimizer = optimizer;
            var state = new List<(string, Tensor)>();
            _first = Add(optimizer.FirstMoment);
            _second = Add(optimizer.SecondMoment);
            _start = Add(optimizer.KeepsStart ? "start" : null);
            State = state;

            Tensor? Add(string? name)
            {
                if (name is null)
                    return null;
                Tensor tensor = parameter.Value.Device.Zeros(parameter.Value.Shape);
                state.Add((name, tensor));
                return tensor;
            }
        }

        public override IReadOnlyList<(string Name, Tensor Value)> State { get; }

        private protected override bool CommitsAtOnce => true;

        public override IReadOnlyList<OptimizerMemoryLevel> Levels => _start is null
            ? base.Levels
            : [new(_optimizer.FirstMoment!, Period: 1, Bytes(_first!)), new("start", Period: 0, Bytes(_start))];

        protected override void Update(Parameter parameter, float learningRate, float errorScale, long commit)
        {
            (MomentTensors tensors, MomentSettings settings) = Next(new ParameterCommit(this, parameter, learningRate, errorScale));
            MomentCommit.Apply(tensors, settings);
        }

        protected override void UpdateAll(ReadOnlySpan<ParameterCommit> commits, Span<CommitChange> changes)
        {
            var tensors = new MomentTensors[commits.Length];
            var settings = new MomentSettings[commits.Length];
            for (int i = 0; i < commits.Length; i++)
            {
                (tensors[i], settings[i]) = ((Memory)commits[i].Memory).Next(commits[i]);
                settings[i] = settings[i] with { ClearGradient = true };
            }

            MomentCommit.Apply(tensors, settings, changes);
        }

        private (MomentTensors Tensors, MomentSettings Settings) Next(in ParameterCommit commit)
        {
            if (Commits == 0)
                _start?.CopyFrom(commit.Parameter.Value);
            return (
                new MomentTensors(commit.Parameter.Value, commit.Parameter.Error, _first, _second, _start),
                _optimizer.Commit(commit.LearningRate, commit.Parameter.Decays) with
                {
                    GradientScale = commit.ErrorScale,
                    GradientIsBounded = true,
                });
        }
    }
}
