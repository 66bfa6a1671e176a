using System.Buffers;
using System.Numerics;

namespace NestedLearning;

internal sealed unsafe partial class ManagedBackend
{
    // The elements of one piece of element-wise work: 64 KiB a tensor.
    private const int ElementBlock = 1 << 14;

    // y += factor · x
    public override void AddScaled(float factor, Tensor x, Tensor y) =>
        Work.For(Blocks(x.Count), x.Count, new AddScaledAction(factor, x.Pointer, y.Pointer, x.Count));

    // z = x ∘ y
    public override void Multiply(Tensor x, Tensor y, Tensor z) =>
        Work.For(Blocks(x.Count), x.Count, new MultiplyAction(x.Pointer, y.Pointer, z.Pointer, x.Count));

    // x ← factor · x
    public override void Scale(Tensor x, float factor) =>
        Work.For(Blocks(x.Count), x.Count, new ScaleAction(x.Pointer, factor, x.Count));

    // Σ x² in double: each block by itself, then the blocks' sums in order.
    public override double SumOfSquares(Tensor x)
    {
        int blocks = Blocks(x.Count);
        double[] sums = ArrayPool<double>.Shared.Rent(Math.Max(blocks, 1));
        Work.For(blocks, x.Count, new SumOfSquaresAction(x.Pointer, x.Count, sums));
        double sum = 0;
        for (int i = 0; i < blocks; i++)
            sum += sums[i];
        ArrayPool<double>.Shared.Return(sums);
        return sum;
    }

    private static int Blocks(int count) => (int)(((long)count + ElementBlock - 1) / ElementBlock);

    private static void Block(int piece, int count, out int start, out int length)
    {
        start = piece * ElementBlock;
        length = Math.Min(ElementBlock, count - start);
    }

    private readonly struct AddScaledAction(float factor, float* x, float* y, int count) : IPieceAction
    {
        public void Invoke(int piece)
        {
            Block(piece, count, out int start, out int length);
            float* from = x + start, sum = y + start;
            int i = 0;
            for (; i <= length - Vector<float>.Count; i += Vector<float>.Count)
                Vector.Store(Subnormals.Flush(Vector.Load(from + i) * factor + Vector.Load(sum + i)), sum + i);
            for (; i < length; i++)
                sum[i] = Subnormals.Flush(from[i] * factor + sum[i]);
        }
    }

    private readonly struct MultiplyAction(float* x, float* y, float* z, int count) : IPieceAction
    {
        public void Invoke(int piece)
        {
            Block(piece, count, out int start, out int length);
            VectorMath.Map<Product>(
                new ReadOnlySpan<float>(x + start, length), new ReadOnlySpan<float>(y + start, length), new Span<float>(z + start, length));
        }

        private readonly struct Product : IVectorFunction2
        {
            public static Vector<float> Invoke(Vector<float> x, Vector<float> y) => x * y;
        }
    }

    private readonly struct ScaleAction(float* x, float factor, int count) : IPieceAction
    {
        public void Invoke(int piece)
        {
            Block(piece, count, out int start, out int length);
            float* scaled = x + start;
            int i = 0;
            for (; i <= length - Vector<float>.Count; i += Vector<float>.Count)
                Vector.Store(Subnormals.Flush(Vector.Load(scaled + i) * factor), scaled + i);
            for (; i < length; i++)
                scaled[i] = Subnormals.Flush(scaled[i] * factor);
        }
    }

    private readonly struct SumOfSquaresAction(float* x, int count, double[] sums) : IPieceAction
    {
        public void Invoke(int piece)
        {
            Block(piece, count, out int start, out int length);
            sums[piece] = Reduction.SumOfSquares(new ReadOnlySpan<float>(x + start, length));
        }
    }
}

/// <summary>Sums over a row, accumulated in double, in an order that depends on the length alone.</summary>
internal static class Reduction
{
    /// <summary>Σ x.</summary>
    public static double Sum(ReadOnlySpan<float> x)
    {
        Vector<double> low = Vector<double>.Zero, high = Vector<double>.Zero;
        int width = Vector<float>.Count;
        for (; x.Length >= width; x = x[width..])
        {
            Vector.Widen(new Vector<float>(x), out Vector<double> a, out Vector<double> b);
            low += a;
            high += b;
        }

        double sum = Vector.Sum(low + high);
        foreach (float element in x)
            sum += element;
        return sum;
    }

    /// <summary>Σ x².</summary>
    public static double SumOfSquares(ReadOnlySpan<float> x) => SumOfSquaredDifferences(x, 0);

    /// <summary>Σ (x − y)².</summary>
    public static double SumOfSquaredDifferences(ReadOnlySpan<float> x, ReadOnlySpan<float> y)
    {
        Vector<double> low = Vector<double>.Zero, high = Vector<double>.Zero;
        int width = Vector<float>.Count;
        int i = 0;
        for (; i <= x.Length - width; i += width)
        {
            Vector.Widen(new Vector<float>(x[i..]), out Vector<double> a, out Vector<double> b);
            Vector.Widen(new Vector<float>(y[i..]), out Vector<double> c, out Vector<double> d);
            a -= c;
            b -= d;
            low += a * a;
            high += b * b;
        }

        double sum = Vector.Sum(low + high);
        for (; i < x.Length; i++)
        {
            double difference = (double)x[i] - y[i];
            sum += difference * difference;
        }

        return sum;
    }

    /// <summary>Σ (x − centre)².</summary>
    public static double SumOfSquaredDifferences(ReadOnlySpan<float> x, double centre)
    {
        Vector<double> low = Vector<double>.Zero, high = Vector<double>.Zero, centres = new(centre);
        int width = Vector<float>.Count;
        for (; x.Length >= width; x = x[width..])
        {
            Vector.Widen(new Vector<float>(x), out Vector<double> a, out Vector<double> b);
            a -= centres;
            b -= centres;
            low += a * a;
            high += b * b;
        }

        double sum = Vector.Sum(low + high);
        foreach (float element in x)
            sum += (element - centre) * (element - centre);
        return sum;
    }
}
