using System.Numerics;

namespace NestedLearning;

internal sealed unsafe partial class ManagedBackend
{
    public override void MomentCommit(ReadOnlySpan<MomentTensors> tensors, ReadOnlySpan<MomentSettings> settings, Span<CommitChange> changes) =>
        CommitPieces.Run<MomentOperands, MomentKernel>(Work, MomentOperands.All(tensors, settings), changes);

    private readonly struct MomentKernel : ICommitKernel<MomentOperands>
    {
        public static void Run(in MomentOperands operands, int begin, int end, double* sums)
        {
            MomentOperands o = operands;
            Measure(o.W, begin, end, sums, new MomentBlock(o));
        }
    }

    // g' ← scale g;  m ← keep1 m + write1 g';  v ← keep2 v + write2 g'²;  r ← read m + read g'
    // w ← start − (decay start + η r / (√v + ε)).  No operation is fused with another, as in Adam's step.
    private readonly struct MomentBlock(MomentOperands o) : ICommitBlock
    {
        public void Commit(int begin, int count)
        {
            MomentSettings s = o.Settings;
            int width = Vector<float>.Count;
            for (int i = begin; i < begin + count; i += width)
            {
                int part = Math.Min(width, begin + count - i);
                Vector<float> gradient = Load(o.G, i, part) * s.GradientScale;
                if (s.ClearGradient)
                    Store(Vector<float>.Zero, o.G, i, part);
                Vector<float> read = gradient * s.ReadGradient;
                if (o.M != null)
                {
                    Vector<float> first = Load(o.M, i, part) * s.Keep1 + gradient * s.Write1;
                    Store(first, o.M, i, part);
                    read = first * s.ReadMoment + read;
                }

                Vector<float> step = read * s.LearningRate;
                if (o.V != null)
                {
                    Vector<float> second = Load(o.V, i, part) * s.Keep2 + gradient * gradient * s.Write2;
                    Store(second, o.V, i, part);
                    step /= Vector.SquareRoot(second) + new Vector<float>(s.Epsilon);
                }

                if (o.W == null)
                    continue;
                Vector<float> from = Load(o.Start, i, part);
                Store(from - (from * s.Decay + step), o.W, i, part);
            }
        }

        private static Vector<float> Load(float* from, int i, int count)
        {
            var span = new ReadOnlySpan<float>(from + i, count);
            return count == Vector<float>.Count ? new Vector<float>(span) : VectorMath.LoadPart(span);
        }

        private static void Store(Vector<float> vector, float* to, int i, int count)
        {
            var span = new Span<float>(to + i, count);
            if (count == Vector<float>.Count)
                vector.CopyTo(span);
            else
                VectorMath.StorePart(vector, span);
        }
    }
}
