using System.Numerics;
using System.Runtime.CompilerServices;
using static NestedLearning.Operations.Subnormals;

namespace NestedLearning;

internal sealed unsafe partial class ManagedBackend
{
    // g ← scale g (+ λ w, not decoupled)
    // m ← β1 m + (1 − β1) g;  v ← β2 v + (1 − β2) g²;  w ← w − η (m / (1 − β1^n)) / (√(v / (1 − β2^n)) + ε) (− ηλ w, decoupled)
    public override void AdamCommit(ReadOnlySpan<AdamTensors> tensors, ReadOnlySpan<AdamSettings> settings, Span<CommitChange> changes) =>
        CommitPieces.Run<AdamOperands, AdamKernel>(Work, AdamOperands.All(tensors, settings), changes);

    private readonly struct AdamKernel : ICommitKernel<AdamOperands>
    {
        public static void Run(in AdamOperands operands, int begin, int end, double* sums) =>
            Measure(operands.W, begin, end, sums, new AdamBlock(operands));
    }

    private readonly struct AdamBlock(AdamOperands operands) : ICommitBlock
    {
        public void Commit(int begin, int count)
        {
            var gradient = new Span<float>(operands.G + begin, count);
            new AdamStep(operands).Commit(begin, gradient);
            if (operands.Settings.ClearGradient)
                gradient.Clear();
        }
    }

    /// <summary>A commit of some elements of a tensor.</summary>
    private interface ICommitBlock
    {
        void Commit(int begin, int count);
    }

    // Commits elements of w; sums, unless null, receives the sums of squares of w's change and of w before, which is kept
    // for a block at a time.
    private static void Measure<TBlock>(float* w, int begin, int end, double* sums, TBlock block)
        where TBlock : struct, ICommitBlock
    {
        const int Block = 1024;
        double change = 0, value = 0;
        Span<float> before = stackalloc float[Block];
        for (int i = begin; i < end; i += Block)
        {
            int count = Math.Min(Block, end - i);
            bool measured = sums != null && w != null;
            if (measured)
                new ReadOnlySpan<float>(w + i, count).CopyTo(before);
            block.Commit(i, count);
            if (measured)
            {
                value += Reduction.SumOfSquares(before[..count]);
                change += Reduction.SumOfSquaredDifferences(before[..count], new ReadOnlySpan<float>(w + i, count));
            }
        }

        if (sums != null)
            (sums[0], sums[1]) = (change, value);
    }
}

/// <summary>Adam's step with its constants, which are worked out in double.</summary>
internal readonly unsafe ref struct AdamStep
{
    // Elements that share their blocks of random numbers, of each of which they take 16 bits.
    private const int RandomGroup = 128;

    private readonly AdamOperands _operands;
    private readonly float _scale;
    private readonly float _beta1;
    private readonly float _new1;
    private readonly float _beta2;
    private readonly float _new2;
    private readonly float _rate;
    private readonly float _correction2;
    private readonly float _epsilon;
    private readonly float _ridge;
    private readonly float _decay;
    private readonly bool _isOrdinary;

    public AdamStep(in AdamOperands operands)
    {
        AdamSettings s = operands.Settings;
        _operands = operands;
        _scale = Flush(s.GradientScale);
        _beta1 = Flush((float)s.Beta1);
        _new1 = Flush((float)(1 - s.Beta1));
        _beta2 = Flush((float)s.Beta2);
        _new2 = Flush((float)(1 - s.Beta2));
        _rate = Flush((float)(s.LearningRate / operands.Correction1));
        _correction2 = Flush((float)(1 / operands.Correction2));
        _epsilon = Flush(s.Epsilon);
        _ridge = s.Decoupled ? 0 : Flush(s.WeightDecay);
        _decay = s.Decoupled ? Flush((float)((double)s.LearningRate * s.WeightDecay)) : 0;
        _isOrdinary = IsBetween(_scale, -30, 20) && IsBetween(_ridge, -30, 10) && IsBetween(_beta1, -10, 0) && IsBetween(_new1, -10, 0)
            && IsBetween(_beta2, -10, 0) && IsBetween(_new2, -20, 0) && IsBetween(_rate, -20, 20) && IsBetween(_correction2, 0, 20)
                && IsBetween(_decay, -40, 0);
    }

    /// <summary>Commits the elements from <paramref name="begin"/> on, one for each of the gradient.</summary>
    public void Commit(int begin, ReadOnlySpan<float> gradient)
    {
        var w = new Span<float>(_operands.W + begin, gradient.Length);
        if (_operands.Settings.Moments == MomentPrecision.Float32)
        {
            Commit(w, gradient, new Span<float>(_operands.M + begin, gradient.Length),
                new Span<float>(_operands.V + begin, gradient.Length));
            return;
        }

        var m = new Span<ushort>((ushort*)_operands.M + begin, gradient.Length);
        var v = new Span<ushort>((ushort*)_operands.V + begin, gradient.Length);
        var random = new CounterRandom(_operands.Settings.Seed, (ulong)_operands.Settings.Step);
        Span<uint> words = stackalloc uint[RandomGroup / 2];
        Span<float> first = stackalloc float[RandomGroup], second = stackalloc float[RandomGroup];
        for (int i = 0; i < w.Length;)
        {
            int at = (begin + i) % RandomGroup;
            int count = Math.Min(RandomGroup - at, w.Length - i);
            FillWords(random, (begin + i) / RandomGroup, words);
            Widen(m.Slice(i, count), first);
            Widen(v.Slice(i, count), second);
            Commit(w.Slice(i, count), gradient.Slice(i, count), first[..count], second[..count]);
            for (int j = 0; j < count; j++)
            {
                uint bits = (words[(at + j) / 2] >> (at + j) % 2 * 16) & 0xFFFF;
                m[i + j] = Round(first[j], bits);
                v[i + j] = Round(second[j], bits ^ 0xFFFF);
            }

            i += count;
        }
    }

    private void Commit(Span<float> w, ReadOnlySpan<float> gradient, Span<float> m, Span<float> v)
    {
        int width = Vector<float>.Count;
        int i = 0;
        for (; i <= w.Length - width; i += width)
        {
            Vector<float> wi = new(w[i..]), mi = new(m[i..]), vi = new(v[i..]);
            Step(ref wi, new Vector<float>(gradient[i..]), ref mi, ref vi);
            wi.CopyTo(w[i..]);
            mi.CopyTo(m[i..]);
            vi.CopyTo(v[i..]);
        }

        if (i < w.Length)
        {
            Vector<float> wi = VectorMath.LoadPart(w[i..]), mi = VectorMath.LoadPart(m[i..]), vi = VectorMath.LoadPart(v[i..]);
            Step(ref wi, VectorMath.LoadPart(gradient[i..]), ref mi, ref vi);
            VectorMath.StorePart(wi, w[i..]);
            VectorMath.StorePart(mi, m[i..]);
            VectorMath.StorePart(vi, v[i..]);
        }
    }

    // No operation is fused with another, so that every backend gives the same bits.
    //
    // With the constants between the bounds of the constructor and the numbers between these, no result is subnormal: g² new2 is 2^−120
    // or more, a sum of β1 m and new1 g not below 2^−84 if they cancel, times the rate and over a root of at most 2^20 not below
    // 2^−124, w λ not below 2^−120; and where decay and step cancel, what is left is no part of a w of 2^−80. Bounds above are those
    // of the root: of v, and of g, whose square joins it.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Step(ref Vector<float> w, Vector<float> gradient, ref Vector<float> m, ref Vector<float> v)
    {
        Vector<float> g = gradient * _scale + w * _ridge;
        Vector<int> outside = Below(gradient, -80) | Outside(g, -50, 30) | Below(w, -80) | Below(m, -50) | Outside(v, -90, 20);
        if (!_isOrdinary || outside != Vector<int>.Zero)
        {
            (w, m, v) = FlushedStep(w, gradient, m, v);
            return;
        }

        m = m * _beta1 + g * _new1;
        v = v * _beta2 + g * g * _new2;
        Vector<float> root = Vector.SquareRoot(v * _correction2) + new Vector<float>(_epsilon);
        // Not (1 − ηλ) w, whose factor would be rounded to few of the bits of ηλ.
        w -= w * _decay + m * _rate / root;
    }

    // The same with what each operation takes and gives flushed.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private (Vector<float> W, Vector<float> M, Vector<float> V) FlushedStep(Vector<float> w, Vector<float> gradient, Vector<float> m,
        Vector<float> v)
    {
        w = Flush(w);
        Vector<float> g = Flush(Flush(Flush(gradient) * _scale) + Flush(w * _ridge));
        m = Flush(Flush(Flush(m) * _beta1) + Flush(g * _new1));
        v = Flush(Flush(Flush(v) * _beta2) + Flush(Square(g) * _new2));
        Vector<float> root = Vector.SquareRoot(Flush(v * _correction2)) + new Vector<float>(_epsilon);
        return (Flush(w - Flush(Flush(w * _decay) + Flush(Flush(m * _rate) / root))), m, v);
    }

    // The words of a group's elements, in the order that nested_learning.h gives: two words of each of 16 blocks for the
    // first half of the elements, then two for the second.
    private static void FillWords(CounterRandom random, int group, Span<uint> words)
    {
        for (int block = 0; block < 16; block++)
            (words[2 * block], words[2 * block + 1], words[32 + 2 * block], words[33 + 2 * block]) =
                random.Block((ulong)group * 16 + (ulong)block);
    }

    private static void Widen(ReadOnlySpan<ushort> halves, Span<float> values)
    {
        for (int i = 0; i < halves.Length; i++)
            values[i] = BitConverter.UInt32BitsToSingle((uint)halves[i] << 16);
    }

    // Random bits are added below what is kept: rounded up with the probability that makes the mean the value. A NaN,
    // which might turn into a number, is cut off as it is.
    private static ushort Round(float value, uint random)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((float.IsNaN(value) ? bits : bits + random) >> 16);
    }
}
