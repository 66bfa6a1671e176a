namespace NestedLearning.Models;

/// <summary>Makes a model's parameters with reproducible initial values: each draws from its own random stream.</summary>
internal sealed class ParameterFactory(Device device, ulong seed)
{
    private ulong _next;

    /// <summary>Normal values of this standard deviation.</summary>
    public Parameter Normal(string name, Shape shape, double deviation, bool decays = true)
    {
        float[] values = new float[shape.ElementCount];
        new CounterRandom(seed, _next++).FillNormal(values, (float)deviation);
        return new Parameter(name, device.From(shape, values), decays);
    }

    /// <summary>One value throughout.</summary>
    public Parameter Constant(string name, Shape shape, float value) =>
        new(name, device.Full(shape, value), decays: false);

    /// <summary>Given values.</summary>
    public Parameter From(string name, Shape shape, float[] values) =>
        new(name, device.From(shape, values), decays: false);

    /// <summary>A random stream for values made by hand.</summary>
    public CounterRandom Random() => new(seed, _next++);
}
