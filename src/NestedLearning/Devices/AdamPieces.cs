namespace NestedLearning;

/// <summary>What Adam's step works on in host memory, with the step's constants.</summary>
internal readonly unsafe struct AdamOperands
{
    public AdamOperands(Tensor w, Tensor? g, Tensor m, Tensor v, in AdamSettings settings)
    {
        W = w.Pointer;
        G = g is null ? null : g.Pointer;
        M = m.Pointer;
        V = v.Pointer;
        Count = w.Count;
        Settings = settings;
        Correction1 = 1 - Math.Pow(settings.Beta1, settings.Step);
        Correction2 = 1 - Math.Pow(settings.Beta2, settings.Step);
    }

    public readonly float* W;

    /// <summary>Null where a product gives the gradient.</summary>
    public readonly float* G;

    public readonly float* M;
    public readonly float* V;
    public readonly int Count;
    public readonly AdamSettings Settings;
    public readonly double Correction1;
    public readonly double Correction2;
}

/// <summary>A backend's step over some elements of a tensor.</summary>
internal unsafe interface IAdamKernel
{
    /// <summary>Commits the elements; sums, unless null, receives the two numbers of <see cref="CommitChange"/> over them.</summary>
    static abstract void Run(in AdamOperands operands, int begin, int end, double* sums);
}

/// <summary>
/// Many tensors' commits as one list of pieces, none longer than <see cref="Length"/> elements: long tensors are cut and
/// short ones are a piece each, so that threads share the elements evenly.
/// </summary>
internal static class AdamPieces
{
    // 64 KiB of each operand: short enough to share out, long enough to be worth a call.
    private const int Length = 1 << 14;

    /// <summary>Roughly, scalar operations an element takes; rounding to bfloat16 is the most of them.</summary>
    private const long Cost = 4, RoundingCost = 12;

    public static void Run<TKernel>(WorkPool work, ReadOnlySpan<AdamTensors> tensors, ReadOnlySpan<AdamSettings> settings, Span<CommitChange> changes)
        where TKernel : struct, IAdamKernel
    {
        var operands = new AdamOperands[tensors.Length];
        int[] firsts = new int[tensors.Length + 1];
        long operations = 0;
        for (int i = 0; i < operands.Length; i++)
        {
            operands[i] = new AdamOperands(tensors[i].W, tensors[i].G, tensors[i].M, tensors[i].V, settings[i]);
            firsts[i + 1] = firsts[i] + (int)(((long)operands[i].Count + Length - 1) / Length);
            operations += operands[i].Count * (settings[i].Moments == MomentPrecision.BFloat16 ? RoundingCost : Cost);
        }

        double[]? sums = changes.IsEmpty ? null : new double[2 * firsts[^1]];
        work.For(firsts[^1], operations, new Action<TKernel>(operands, firsts, sums));
        for (int i = 0; i < changes.Length; i++)
        {
            double change = 0, value = 0;
            for (int piece = firsts[i]; piece < firsts[i + 1]; piece++)
            {
                change += sums![2 * piece];
                value += sums[2 * piece + 1];
            }

            changes[i] = new CommitChange(change, value);
        }
    }

    private readonly unsafe struct Action<TKernel>(AdamOperands[] operands, int[] firsts, double[]? sums) : IPieceAction
        where TKernel : struct, IAdamKernel
    {
        public void Invoke(int piece)
        {
            int tensor = Array.BinarySearch(firsts, piece);
            if (tensor < 0)
                tensor = ~tensor - 1;
            // Tensors without elements have no pieces, and begin where the next one does.
            while (firsts[tensor + 1] == piece)
                tensor++;
            int begin = (piece - firsts[tensor]) * Length;
            int end = (int)Math.Min(operands[tensor].Count, (long)begin + Length);
            double* measured = stackalloc double[2];
            TKernel.Run(operands[tensor], begin, end, sums is null ? null : measured);
            if (sums is not null)
                (sums[2 * piece], sums[2 * piece + 1]) = (measured[0], measured[1]);
        }
    }
}
