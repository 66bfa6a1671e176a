using System.Numerics;
using System.Runtime.CompilerServices;
using static NestedLearning.Operations.Subnormals;

namespace NestedLearning;

internal sealed unsafe partial class ManagedBackend
{
    public override void MomentCommit(ReadOnlySpan<MomentTensors> tensors, ReadOnlySpan<MomentSettings> settings,
        Span<CommitChange> changes) =>
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
    //
    // With constants and numbers between the bounds below no result is subnormal: write2 g'² is not below 2^−92, m not below 2^−76 if its
    // terms cancel, read and times η not below 2^−104, over a root of at most 2^20 not below 2^−124, and decay start not below 2^−120.
    private readonly struct MomentBlock(MomentOperands o) : ICommitBlock
    {
        public void Commit(int begin, int count)
        {
            MomentSettings s = Flushed(o.Settings);
            bool isOrdinary = IsBetween(s.GradientScale, -30, 10) && IsBetween(s.Keep1, -12, 4) && IsBetween(s.Write1, -12, 4)
                && IsBetween(s.Keep2, -12, 4)
                && IsBetween(s.Write2, -12, 4) && IsBetween(s.ReadMoment, -12, 4) && IsBetween(s.ReadGradient, -12, 4)
                    && IsBetween(s.LearningRate, -16, 10)
                && IsBetween(s.Decay, -40, 4);
            int width = Vector<float>.Count;
            for (int i = begin; i < begin + count; i += width)
            {
                int part = Math.Min(width, begin + count - i);
                Vector<float> g = Load(o.G, i, part), gradient = g * s.GradientScale, zero = Vector<float>.Zero;
                Vector<float> m = o.M == null ? zero : Load(o.M, i, part), v = o.V == null ? zero : Load(o.V, i, part);
                Vector<float> from = o.W == null ? zero : Load(o.Start, i, part);
                Vector<int> outside = Outside(g, -80, 40) | Outside(gradient, -40, 30) | Outside(m, -30, 30) | Outside(v, -90,
                    34) | Outside(from, -80, 40);
                (Vector<float> w, m, v) = isOrdinary
                    && outside == Vector<int>.Zero ? Step(s, gradient, m, v, from) : FlushedStep(s, g, m, v, from);
                if (s.ClearGradient)
                    Store(zero, o.G, i, part);
                if (o.M != null)
                    Store(m, o.M, i, part);
                if (o.V != null)
                    Store(v, o.V, i, part);
                if (o.W != null)
                    Store(w, o.W, i, part);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private (Vector<float> W, Vector<float> M, Vector<float> V) Step(in MomentSettings s, Vector<float> gradient, Vector<float> m,
            Vector<float> v, Vector<float> from)
        {
            Vector<float> read = gradient * s.ReadGradient;
            if (o.M != null)
            {
                m = m * s.Keep1 + gradient * s.Write1;
                read = m * s.ReadMoment + read;
            }

            Vector<float> step = read * s.LearningRate;
            if (o.V != null)
            {
                v = v * s.Keep2 + gradient * gradient * s.Write2;
                step /= Vector.SquareRoot(v) + new Vector<float>(s.Epsilon);
            }

            return (from - (from * s.Decay + step), m, v);
        }

        // The same with what each operation takes and gives flushed.
        [MethodImpl(MethodImplOptions.NoInlining)]
        private (Vector<float> W, Vector<float> M, Vector<float> V) FlushedStep(in MomentSettings s, Vector<float> g, Vector<float> m,
            Vector<float> v, Vector<float> from)
        {
            Vector<float> gradient = Flush(Flush(g) * s.GradientScale), read = Flush(gradient * s.ReadGradient);
            from = Flush(from);
            if (o.M != null)
            {
                m = Flush(Flush(Flush(m) * s.Keep1) + Flush(gradient * s.Write1));
                read = Flush(Flush(m * s.ReadMoment) + read);
            }

            Vector<float> step = Flush(read * s.LearningRate);
            if (o.V != null)
            {
                v = Flush(Flush(Flush(v) * s.Keep2) + Flush(Square(gradient) * s.Write2));
                step = Flush(step / (Vector.SquareRoot(v) + new Vector<float>(s.Epsilon)));
            }

            return (Flush(from - Flush(Flush(from * s.Decay) + step)), m, v);
        }

        private static MomentSettings Flushed(MomentSettings s) => s with
        {
            GradientScale = Flush(s.GradientScale),
            Keep1 = Flush(s.Keep1),
            Write1 = Flush(s.Write1),
            Keep2 = Flush(s.Keep2),
            Write2 = Flush(s.Write2),
            ReadMoment = Flush(s.ReadMoment),
            ReadGradient = Flush(s.ReadGradient),
            LearningRate = Flush(s.LearningRate),
            Decay = Flush(s.Decay),
            Epsilon = Flush(s.Epsilon),
        };

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
