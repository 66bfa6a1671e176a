using System.Numerics;
using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>Rows made unit length, x̂ = x / r with r = √(‖x‖² + ε²), float or double, and the gradient.</summary>
internal static unsafe class UnitRows
{
    /// <summary>x̂, which may take the place of x. Returns r.</summary>
    public static T Forward<T>(T* x, T epsilon, int length, T* unit)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        T norm = T.Sqrt(Dot(x, x, length) + epsilon * epsilon);
        TensorPrimitives.Multiply<T>(Span(x, length), T.One / norm, Span(unit, length));
        return norm;
    }

    /// <summary>dx = (dx̂ − ⟨dx̂, x̂⟩ x̂) / r + dr x̂, which may take the place of dx̂.</summary>
    public static void Backward<T>(T* unit, T norm, T dNorm, T* dUnit, int length, T* dx)
        where T : unmanaged, IFloatingPointIeee754<T>
    {
        T along = dNorm - Dot(dUnit, unit, length) / norm;
        TensorPrimitives.Multiply<T>(Span(dUnit, length), T.One / norm, Span(dx, length));
        AddScaled(unit, along, length, dx);
    }
}
