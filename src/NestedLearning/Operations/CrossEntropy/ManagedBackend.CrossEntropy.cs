using System.Numerics;
using System.Numerics.Tensors;

namespace NestedLearning;

internal sealed unsafe partial class ManagedBackend
{
    // A target that takes no part.
    private const int Ignored = -1;

    // Rows of one piece.
    private const int LossRows = 4;

    // logSum_n = m + log Σ_v e^(logits[n,v] − m), m the row's maximum;  loss_n = logSum_n − logits[n, target_n], or 0
    // logits [N,V]  targets, losses, logSums [N]; the sum of exponentials in double across vectors of 512 elements.
    public override void CrossEntropyForward(Tensor logits, IndexTensor targets, Tensor losses, Tensor logSums) =>
        Work.For(
            Pieces(targets.Count, LossRows), (long)logits.Count * FunctionOperations,
            new CrossEntropyForwardAction(logits.Pointer, targets.Pointer, losses.Pointer, logSums.Pointer, targets.Count,
                logits.Shape.Last));

    // dLogits[n] = (e^(logits[n] − logSum_n) − onehot(target_n)) · dLoss_n, or 0; dLogits may be logits.
    public override void CrossEntropyBackward(Tensor logits, IndexTensor targets, Tensor logSums, Tensor dLosses, Tensor dLogits) =>
        Work.For(
            Pieces(targets.Count, LossRows), (long)logits.Count * FunctionOperations,
            new CrossEntropyBackwardAction(
                logits.Pointer, targets.Pointer, logSums.Pointer, dLosses.Pointer, dLogits.Pointer, targets.Count, logits.Shape.Last));

    // The forward pass and dLogits[n] = (e^(logits[n] − logSum_n) − onehot(target_n)) · gradientScale, row by row.
    public override void CrossEntropyWithGradient(Tensor logits, IndexTensor targets, float gradientScale, Tensor losses, Tensor dLogits) =>
        Work.For(
            Pieces(targets.Count, LossRows), 2L * logits.Count * FunctionOperations,
            new CrossEntropyWithGradientAction(
                logits.Pointer, targets.Pointer, gradientScale, losses.Pointer, dLogits.Pointer, targets.Count, logits.Shape.Last));

    private readonly struct CrossEntropyForwardAction(float* logits, int* targets, float* losses, float* logSums, int count, int classes)
        : IPieceAction
    {
        private const int Run = 512;

        public void Invoke(int piece)
        {
            int end = Math.Min((piece + 1) * LossRows, count);
            for (int n = piece * LossRows; n < end; n++)
            {
                var row = new ReadOnlySpan<float>(logits + (nint)n * classes, classes);
                double logSum = LogSumExp(row);
                logSums[n] = (float)logSum;
                losses[n] = targets[n] == Ignored ? 0 : (float)(logSum - row[targets[n]]);
            }
        }

        public static double LogSumExp(ReadOnlySpan<float> row)
        {
            float maximum = TensorPrimitives.Max(row);

            // One infinite logit outweighs all, NaN spoils all, and all −∞ sum to nothing.
            if (!float.IsFinite(maximum))
                return maximum;
            double sum = 0;
            for (int start = 0; start < row.Length; start += Run)
                sum += SumOfExponentials(row.Slice(start, Math.Min(Run, row.Length - start)), maximum);
            return maximum + Math.Log(sum);
        }

        private static float SumOfExponentials(ReadOnlySpan<float> x, float maximum)
        {
            Vector<float> sums = Vector<float>.Zero, shift = new(maximum);
            int i = 0;
            for (; i <= x.Length - Vector<float>.Count; i += Vector<float>.Count)
                sums += VectorMath.Exp(new Vector<float>(x[i..]) - shift);
            float sum = Vector.Sum(sums);
            for (; i < x.Length; i++)
                sum += MathF.Exp(x[i] - maximum);
            return sum;
        }
    }

    private readonly struct CrossEntropyBackwardAction(
        float* logits, int* targets, float* logSums, float* dLosses, float* dLogits, int count, int classes) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int end = Math.Min((piece + 1) * LossRows, count);
            for (int n = piece * LossRows; n < end; n++)
            {
                var gradient = new Span<float>(dLogits + (nint)n * classes, classes);
                if (targets[n] == Ignored)
                    gradient.Clear();
                else
                    Row(new ReadOnlySpan<float>(logits + (nint)n * classes, classes), targets[n], logSums[n], dLosses[n], gradient);
            }
        }

        public static void Row(ReadOnlySpan<float> x, int target, float logSum, float dLoss, Span<float> dx)
        {
            // logits may be written over, so the target's is read first.
            float atTarget = x[target];
            Vector<float> shift = new(logSum), factor = new(dLoss);
            int i = 0;
            for (; i <= x.Length - Vector<float>.Count; i += Vector<float>.Count)
                Subnormals.Flush(VectorMath.Exp(new Vector<float>(x[i..]) - shift) * factor).CopyTo(dx[i..]);
            for (; i < x.Length; i++)
                dx[i] = Subnormals.Flush(MathF.Exp(x[i] - logSum) * dLoss);
            dx[target] = Subnormals.Flush((float)((Math.Exp((double)atTarget - logSum) - 1) * dLoss));
        }
    }

    private readonly struct CrossEntropyWithGradientAction(
        float* logits, int* targets, float gradientScale, float* losses, float* dLogits, int count, int classes) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int end = Math.Min((piece + 1) * LossRows, count);
            for (int n = piece * LossRows; n < end; n++)
            {
                var row = new ReadOnlySpan<float>(logits + (nint)n * classes, classes);
                var gradient = new Span<float>(dLogits + (nint)n * classes, classes);
                if (targets[n] == Ignored)
                {
                    losses[n] = 0;
                    gradient.Clear();
                    continue;
                }

                double logSum = CrossEntropyForwardAction.LogSumExp(row);
                losses[n] = (float)(logSum - row[targets[n]]);
                CrossEntropyBackwardAction.Row(row, targets[n], (float)logSum, gradientScale, gradient);
            }
        }
    }
}
