using System.Numerics;

namespace NestedLearning;

internal sealed unsafe partial class ManagedBackend
{
    // y = f(x), element by element; pieces are runs of ElementBlock elements.
    public override void ActivationForward(Activation activation, Tensor x, Tensor y)
    {
        switch (activation)
        {
            case Activation.Sigmoid:
                Map<SigmoidFunction>(x, y);
                break;
            case Activation.Softplus:
                Map<SoftplusFunction>(x, y);
                break;
            case Activation.LogSigmoid:
                Map<LogSigmoidFunction>(x, y);
                break;
            case Activation.Gelu:
                Map<GeluFunction>(x, y);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(activation), activation,
                    $"activation is {activation}, expected a defined one.");
        }
    }

    // dx = dy ∘ f'(x)
    public override void ActivationBackward(Activation activation, Tensor x, Tensor dy, Tensor dx)
    {
        switch (activation)
        {
            case Activation.Sigmoid:
                Map<SigmoidGradient>(x, dy, dx);
                break;
            case Activation.Softplus:
                Map<SoftplusGradient>(x, dy, dx);
                break;
            case Activation.LogSigmoid:
                Map<LogSigmoidGradient>(x, dy, dx);
                break;
            case Activation.Gelu:
                Map<GeluGradient>(x, dy, dx);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(activation), activation,
                    $"activation is {activation}, expected a defined one.");
        }
    }

    // About how many operations a transcendental function takes, for the decision to wake other threads.
    private const int FunctionOperations = 8;

    private void Map<TFunction>(Tensor x, Tensor y)
        where TFunction : struct, IVectorFunction =>
        Work.For(Blocks(x.Count), (long)x.Count * FunctionOperations, new MapAction<TFunction>(x.Pointer, y.Pointer, x.Count));

    private void Map<TFunction>(Tensor x, Tensor y, Tensor z)
        where TFunction : struct, IVectorFunction2 =>
        Work.For(Blocks(x.Count), (long)x.Count * FunctionOperations, new MapAction2<TFunction>(x.Pointer, y.Pointer, z.Pointer, x.Count));

    private readonly struct MapAction<TFunction>(float* x, float* y, int count) : IPieceAction
        where TFunction : struct, IVectorFunction
    {
        public void Invoke(int piece)
        {
            Block(piece, count, out int start, out int length);
            VectorMath.Map<TFunction>(new ReadOnlySpan<float>(x + start, length), new Span<float>(y + start, length));
        }
    }

    private readonly struct MapAction2<TFunction>(float* x, float* y, float* z, int count) : IPieceAction
        where TFunction : struct, IVectorFunction2
    {
        public void Invoke(int piece)
        {
            Block(piece, count, out int start, out int length);
            VectorMath.Map<TFunction>(
                new ReadOnlySpan<float>(x + start, length), new ReadOnlySpan<float>(y + start, length), new Span<float>(z + start, length));
        }
    }
}
