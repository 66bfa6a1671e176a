using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace NestedLearning;

/// <summary>Argument checks whose messages give the name, the value and what was allowed.</summary>
internal static partial class Require
{
    public static void SameShape(Tensor tensor, Shape expected, [CallerArgumentExpression(nameof(tensor))] string? name = null)
    {
        if (tensor.Shape != expected)
            ThrowShape(tensor.Shape, expected, name);
    }

    public static void OptionalShape(Tensor? tensor, Shape expected, [CallerArgumentExpression(nameof(tensor))] string? name = null)
    {
        if (tensor is not null)
            SameShape(tensor, expected, name);
    }

    /// <summary>As <see cref="SameShape"/>, without making a shape unless they differ.</summary>
    public static void Axes(Tensor tensor, ReadOnlySpan<int> expected, [CallerArgumentExpression(nameof(tensor))] string? name = null)
    {
        if (!tensor.Shape.AsSpan().SequenceEqual(expected))
            ThrowShape(tensor.Shape, new Shape(expected), name);
    }

    public static void OnDevice(Tensor? tensor, Device device, [CallerArgumentExpression(nameof(tensor))] string? name = null)
    {
        if (tensor is not null && tensor.Device != device)
            throw new ArgumentException($"{name} is on '{tensor.Device.Name}', expected '{device.Name}'.", name);
    }

    /// <summary>That all of the tensors that are given are on the device.</summary>
    public static void OnDevice(Device device, params ReadOnlySpan<(Tensor? Tensor, string Name)> tensors)
    {
        foreach ((Tensor? tensor, string name) in tensors)
            OnDevice(tensor, device, name);
    }

    public static void Rank(Tensor tensor, int rank, string axes, [CallerArgumentExpression(nameof(tensor))] string? name = null)
    {
        if (tensor.Shape.Rank != rank)
            throw new ArgumentException($"{name} has shape {tensor.Shape}, expected {axes}.", name);
    }

    public static void Positive(int value, [CallerArgumentExpression(nameof(value))] string? name = null)
    {
        if (value <= 0)
            throw new ArgumentOutOfRangeException(name, value, $"{name} is {value}, expected at least 1.");
    }

    public static void Finite(float value, [CallerArgumentExpression(nameof(value))] string? name = null)
    {
        if (!float.IsFinite(value))
            throw new ArgumentOutOfRangeException(name, value, Readable.Text($"{name} is {value}, expected a finite number."));
    }

    public static void InRange(float value, float low, float high, [CallerArgumentExpression(nameof(value))] string? name = null)
    {
        if (!(value >= low && value <= high))
            throw new ArgumentOutOfRangeException(name, value, Readable.Text($"{name} is {value}, expected {low} to {high}."));
    }

    /// <summary>That a parameter is a matrix, for an optimizer that takes nothing else.</summary>
    public static void Matrix(Parameter parameter, string optimizer)
    {
        Shape shape = parameter.Value.Shape;
        if (shape.Rank != 2 || shape.ElementCount == 0)
            throw new ArgumentException($"'{parameter.Name}' has shape {shape}. {optimizer} takes matrices [r, c]; give it another " +
                $"optimizer by {nameof(OptimizerRules)}.", nameof(parameter));
    }

    public static void Above(float value, float low, [CallerArgumentExpression(nameof(value))] string? name = null)
    {
        if (!(value > low && float.IsFinite(value)))
            throw new ArgumentOutOfRangeException(name, value, Readable.Text($"{name} is {value}, expected a finite number above {low}."));
    }

    /// <summary>What is added to a root so that nothing is divided by zero: above 0, and not flushed to it.</summary>
    public static void Epsilon(float value, [CallerArgumentExpression(nameof(value))] string? name = null)
    {
        if (!(float.IsNormal(value) && value > 0))
            throw new ArgumentOutOfRangeException(name, value,
                Readable.Text($"{name} is {value}, expected a finite number above 0 that is not subnormal."));
    }

    /// <summary>What a memory keeps from one write to the next, if it is to forget at all.</summary>
    public static void Retention(double value, [CallerArgumentExpression(nameof(value))] string? name = null)
    {
        if (!(value >= 0 && value < 1))
            throw new ArgumentOutOfRangeException(name, value, Readable.Text($"{name} is {value}, expected at least 0 and below 1."));
    }

    [DoesNotReturn]
    private static void ThrowShape(Shape actual, Shape expected, string? name) =>
        throw new ArgumentException($"{name} has shape {actual}, expected {expected}.", name);
}
