using System.Numerics;

namespace NestedLearning.Operations;

// The activations and their gradients dy ∘ f'(x) as functions to map.
internal readonly struct SigmoidFunction : IVectorFunction
{
    public static Vector<float> Invoke(Vector<float> x) => VectorMath.Sigmoid(x);
}

internal readonly struct SoftplusFunction : IVectorFunction
{
    public static Vector<float> Invoke(Vector<float> x) => VectorMath.Softplus(x);
}

internal readonly struct LogSigmoidFunction : IVectorFunction
{
    public static Vector<float> Invoke(Vector<float> x) => -VectorMath.Softplus(-x);
}

internal readonly struct GeluFunction : IVectorFunction
{
    public static Vector<float> Invoke(Vector<float> x) => VectorMath.Gelu(x);
}

internal readonly struct GeluSlopeFunction : IVectorFunction
{
    public static Vector<float> Invoke(Vector<float> x) => VectorMath.GeluDerivative(x);
}

internal readonly struct GeluCurvatureFunction : IVectorFunction
{
    public static Vector<float> Invoke(Vector<float> x) => VectorMath.GeluSecondDerivative(x);
}

internal readonly struct SigmoidGradient : IVectorFunction2
{
    public static Vector<float> Invoke(Vector<float> x, Vector<float> dy) => dy * VectorMath.SigmoidDerivative(x);
}

internal readonly struct SoftplusGradient : IVectorFunction2
{
    public static Vector<float> Invoke(Vector<float> x, Vector<float> dy) => dy * VectorMath.Sigmoid(x);
}

internal readonly struct LogSigmoidGradient : IVectorFunction2
{
    public static Vector<float> Invoke(Vector<float> x, Vector<float> dy) => dy * VectorMath.Sigmoid(-x);
}

internal readonly struct GeluGradient : IVectorFunction2
{
    public static Vector<float> Invoke(Vector<float> x, Vector<float> dy) => dy * VectorMath.GeluDerivative(x);
}
