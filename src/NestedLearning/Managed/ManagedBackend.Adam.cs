using System.Numerics;

namespace NestedLearning;

internal sealed unsafe partial class ManagedBackend
{
    // g ← scale g (+ λ w, not decoupled);  w ← (1 − ηλ) w (decoupled)
    // m ← β1 m + (1 − β1) g;  v ← β2 v + (1 − β2) g²;  w ← w − η (m / (1 − β1^n)) / (√(v / (1 − β2^n)) + ε)
    public override void AdamCommit(Tensor w, Tensor g, Tensor m, Tensor v, AdamSettings settings) =>
        Work.For(
            Blocks(w.Count), (long)w.Count * FunctionOperations,
            new AdamAction(w.Pointer, g.Pointer, m.Pointer, v.Pointer, w.Count, new AdamFactors(settings)));

    /// <summary>The step's constants, the bias corrections worked out in double.</summary>
    private readonly struct AdamFactors
    {
        public AdamFactors(AdamSettings s)
        {
            Beta1 = s.Beta1;
            Beta2 = s.Beta2;
            New1 = 1 - s.Beta1;
            New2 = 1 - s.Beta2;
            Rate = (float)(s.LearningRate / (1 - Math.Pow(s.Beta1, s.Step)));
            Correction2 = (float)(1 / (1 - Math.Pow(s.Beta2, s.Step)));
            Epsilon = s.Epsilon;
            Scale = s.GradientScale;
            Ridge = s.Decoupled ? 0 : s.WeightDecay;
            Keep = s.Decoupled ? (float)(1 - (double)s.LearningRate * s.WeightDecay) : 1;
        }

        public readonly float Beta1;
        public readonly float Beta2;
        public readonly float New1;
        public readonly float New2;
        public readonly float Rate;
        public readonly float Correction2;
        public readonly float Epsilon;
        public readonly float Scale;
        public readonly float Ridge;
        public readonly float Keep;
    }

    private readonly struct AdamAction(float* w, float* g, float* m, float* v, int count, AdamFactors factors) : IPieceAction
    {
        public void Invoke(int piece)
        {
            Block(piece, count, out int start, out int length);
            var weights = new Span<float>(w + start, length);
            var gradients = new ReadOnlySpan<float>(g + start, length);
            var first = new Span<float>(m + start, length);
            var second = new Span<float>(v + start, length);
            int width = Vector<float>.Count;
            int i = 0;
            for (; i <= length - width; i += width)
            {
                Vector<float> wi = new(weights[i..]), mi = new(first[i..]), vi = new(second[i..]);
                Step(factors, ref wi, new Vector<float>(gradients[i..]), ref mi, ref vi);
                wi.CopyTo(weights[i..]);
                mi.CopyTo(first[i..]);
                vi.CopyTo(second[i..]);
            }

            if (i < length)
            {
                Vector<float> wi = VectorMath.LoadPart(weights[i..]), mi = VectorMath.LoadPart(first[i..]), vi = VectorMath.LoadPart(second[i..]);
                Step(factors, ref wi, VectorMath.LoadPart(gradients[i..]), ref mi, ref vi);
                VectorMath.StorePart(wi, weights[i..]);
                VectorMath.StorePart(mi, first[i..]);
                VectorMath.StorePart(vi, second[i..]);
            }
        }

        private static void Step(in AdamFactors f, ref Vector<float> w, Vector<float> g, ref Vector<float> m, ref Vector<float> v)
        {
            g *= f.Scale;
            if (f.Ridge != 0)
                g += w * f.Ridge;
            m = m * f.Beta1 + g * f.New1;
            v = v * f.Beta2 + g * g * f.New2;
            Vector<float> root = Vector.SquareRoot(v * f.Correction2);
            w = w * f.Keep - m * f.Rate / (root + new Vector<float>(f.Epsilon));
        }
    }
}
