using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    // Tokens of a piece where the parts of dq are added together.
    private const int SumTokens = 64;

    public override void AttentionForward(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs)
    {
        AttentionArguments arguments = Arguments(inputs, settings, outputs);
        long pieces, workspace;
        Status.ThrowIfFailed(Kernels.AttentionForwardPlan(&arguments, &pieces, &workspace));
        Work.For(checked((int)pieces), AttentionCost.Operations(inputs) / OperationsAtOnce,
            new WorkspaceAction<AttentionArguments>(arguments, workspace, &Kernels.AttentionForward));
    }

    public override void AttentionBackward(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs,
        Tensor dOutput, in AttentionGradients gradients)
    {
        AttentionArguments arguments = Arguments(inputs, settings, outputs);
        long pieces, workspace, parts;
        Status.ThrowIfFailed(Kernels.AttentionBackwardPlan(&arguments, &pieces, &workspace, &parts));
        using Tensor? dqParts = parts == 0 || gradients.Q is null ? null : inputs.Q.Device.Empty([checked((int)parts)]);
        var gradientArguments = new AttentionGradientArguments
        {
            Size = (uint)sizeof(AttentionGradientArguments),
            DO = dOutput.Pointer,
            DQ = PointerOrNull(gradients.Q),
            DK = PointerOrNull(gradients.K),
            DV = PointerOrNull(gradients.V),
            DQParts = PointerOrNull(dqParts),
        };
        Work.For(
            checked((int)pieces), 5 * AttentionCost.Operations(inputs) / 2 / OperationsAtOnce,
            new GradientAction<AttentionArguments,
            AttentionGradientArguments>(arguments, gradientArguments, workspace, &Kernels.AttentionBackward));
        int tokens = inputs.Batch * inputs.Time;
        if (dqParts is not null)
            Work.For(Pieces(tokens, SumTokens), dqParts.Count, new AttentionBackwardSumAction(arguments, gradientArguments, tokens));
    }

    private static AttentionArguments Arguments(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs) => new()
    {
        Size = (uint)sizeof(AttentionArguments),
        Batch = inputs.Batch,
        Time = inputs.Time,
        Keys = inputs.Keys,
        Heads = inputs.Heads,
        KeyDim = inputs.KeyDim,
        ValueDim = inputs.ValueDim,
        Scale = settings.Scale,
        Q = inputs.Q.Pointer,
        K = inputs.K.Pointer,
        V = inputs.V.Pointer,
        O = outputs.O.Pointer,
        LogSums = PointerOrNull(outputs.LogSums),
    };

    private readonly struct AttentionBackwardSumAction(AttentionArguments arguments, AttentionGradientArguments gradients, int tokens)
        : IPieceAction
    {
        public void Invoke(int piece)
        {
            AttentionArguments local = arguments;
            AttentionGradientArguments localGradients = gradients;
            int first = piece * SumTokens;
            Status.ThrowIfFailed(Kernels.AttentionBackwardSum(&local, &localGradients, first, Math.Min(tokens, first + SumTokens)));
        }
    }
}
