namespace NestedLearning.Operations;

/// <summary>What one tensor's commit works on in host memory.</summary>
internal interface ICommitOperands
{
    /// <summary>The number of elements.</summary>
    int Count { get; }

    /// <summary>Roughly, scalar operations an element takes.</summary>
    long Cost { get; }
}

/// <summary>A backend's commit of some elements of a tensor.</summary>
internal unsafe interface ICommitKernel<TOperands>
{
    /// <summary>Commits the elements; sums, unless null, receives the two numbers of <see cref="CommitChange"/> over them.</summary>
    static abstract void Run(in TOperands operands, int begin, int end, double* sums);
}

/// <summary>
/// Many tensors' commits as one list of pieces, none longer than <see cref="Length"/> elements: long tensors are cut and
/// short ones are a piece each, so that threads share the elements evenly.
/// </summary>
internal static class CommitPieces
{
    // 64 KiB of each operand: short enough to share out, long enough to be worth a call.
    private const int Length = 1 << 14;

    public static void Run<TOperands, TKernel>(WorkPool work, TOperands[] operands, Span<CommitChange> changes)
        where TOperands : struct, ICommitOperands
        where TKernel : struct, ICommitKernel<TOperands>
    {
        int[] firsts = new int[operands.Length + 1];
        long operations = 0;
        for (int i = 0; i < operands.Length; i++)
        {
            firsts[i + 1] = firsts[i] + (int)(((long)operands[i].Count + Length - 1) / Length);
            operations += operands[i].Count * operands[i].Cost;
        }

        double[]? sums = changes.IsEmpty ? null : new double[2 * firsts[^1]];
        work.For(firsts[^1], operations, new Action<TOperands, TKernel>(operands, firsts, sums));
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

    private readonly unsafe struct Action<TOperands, TKernel>(TOperands[] operands, int[] firsts, double[]? sums) : IPieceAction
        where TOperands : struct, ICommitOperands
        where TKernel : struct, ICommitKernel<TOperands>
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
