using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    // Elements of one piece: 64 KiB of each operand.
    private const int ElementwisePiece = 1 << 14;

    private interface IElementwiseKernel
    {
        /// <summary>Roughly, scalar operations an element takes.</summary>
        static abstract int Cost { get; }

        static abstract int Run(ElementwiseArguments* arguments, long begin, long end);
    }

    public override void ActivationForward(Operations.Activation activation, Tensor x, Tensor y) =>
        Elementwise<ActivationForwardKernel>(x.Count,
            new ElementwiseArguments { Activation = (int)activation, X = x.Pointer, Z = y.Pointer });

    public override void ActivationBackward(Operations.Activation activation, Tensor x, Tensor dy, Tensor dx) =>
        Elementwise<ActivationBackwardKernel>(x.Count,
            new ElementwiseArguments { Activation = (int)activation, X = x.Pointer, Y = dy.Pointer, Z = dx.Pointer });

    public override void AddScaled(float factor, Tensor x, Tensor y) =>
        Elementwise<AddScaledKernel>(x.Count, new ElementwiseArguments { Factor = factor, X = x.Pointer, Z = y.Pointer });

    public override void Multiply(Tensor x, Tensor y, Tensor z) =>
        Elementwise<MultiplyKernel>(x.Count, new ElementwiseArguments { X = x.Pointer, Y = y.Pointer, Z = z.Pointer });

    public override void Scale(Tensor x, float factor) =>
        Elementwise<ScaleKernel>(x.Count, new ElementwiseArguments { Factor = factor, X = x.Pointer, Z = x.Pointer });

    private void Elementwise<TKernel>(int count, ElementwiseArguments arguments)
        where TKernel : struct, IElementwiseKernel
    {
        arguments.Size = (uint)sizeof(ElementwiseArguments);
        int pieces = Pieces(count, ElementwisePiece);
        Work.For(pieces, (long)count * TKernel.Cost, new ElementwiseAction<TKernel>(arguments, count));
    }

    private readonly struct ElementwiseAction<TKernel>(ElementwiseArguments arguments, int count) : IPieceAction
        where TKernel : struct, IElementwiseKernel
    {
        public void Invoke(int piece)
        {
            ElementwiseArguments local = arguments;
            long begin = (long)piece * ElementwisePiece;
            Status.ThrowIfFailed(TKernel.Run(&local, begin, Math.Min(count, begin + ElementwisePiece)));
        }
    }

    private readonly struct ActivationForwardKernel : IElementwiseKernel
    {
        public static int Cost => 16;

        public static int Run(ElementwiseArguments* arguments, long begin, long end) => Kernels.ActivationForward(arguments, begin, end);
    }

    private readonly struct ActivationBackwardKernel : IElementwiseKernel
    {
        public static int Cost => 16;

        public static int Run(ElementwiseArguments* arguments, long begin, long end) => Kernels.ActivationBackward(arguments, begin, end);
    }

    private readonly struct AddScaledKernel : IElementwiseKernel
    {
        public static int Cost => 1;

        public static int Run(ElementwiseArguments* arguments, long begin, long end) => Kernels.AddScaled(arguments, begin, end);
    }

    private readonly struct MultiplyKernel : IElementwiseKernel
    {
        public static int Cost => 1;

        public static int Run(ElementwiseArguments* arguments, long begin, long end) => Kernels.Multiply(arguments, begin, end);
    }

    private readonly struct ScaleKernel : IElementwiseKernel
    {
        public static int Cost => 1;

        public static int Run(ElementwiseArguments* arguments, long begin, long end) => Kernels.Scale(arguments, begin, end);
    }

    public override double SumOfSquares(Tensor x)
    {
        int blocks = Pieces(x.Count, Kernels.SumBlock);
        double* sums = (double*)Scratch.Take(2 * blocks);
        Work.For(blocks, x.Count, new SumOfSquaresAction(x.Pointer, x.Count, sums));
        double sum = 0;
        for (int block = 0; block < blocks; block++)
            sum += sums[block];
        return sum;
    }

    private readonly struct SumOfSquaresAction(float* x, int count, double* sums) : IPieceAction
    {
        public void Invoke(int piece) => Status.ThrowIfFailed(Kernels.SumOfSquares(x, count, sums, piece, piece + 1));
    }
}
