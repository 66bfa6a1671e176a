namespace NestedLearning.Models;

/// <summary>Makes a model's parameters with reproducible initial values: each draws from its own random stream.</summary>
/// <param name="device">Where they live.</param>
/// <param name="seed">Chooses the random numbers.</param>
/// <param name="expect">Called with each name and shape before memory is taken for it: a checkpoint that is to fill the model has to
/// have such a tensor, so that a damaged one cannot ask for more memory than it has numbers.</param>
internal sealed class ParameterFactory(Device device, ulong seed, Action<string, Shape>? expect = null)
{
    private ulong _next;

    /// <summary>Normal values of this standard deviation.</summary>
    public Parameter Normal(string name, Shape shape, double deviation, bool decays = true)
    {
        expect?.Invoke(name, shape);
        float[] values = new float[shape.ElementCount];
        new CounterRandom(seed, _next++).FillNormal(values, (float)deviation);
        return new Parameter(name, device.From(shape, values), decays);
    }

    /// <summary>One value throughout.</summary>
    public Parameter Constant(string name, Shape shape, float value)
    {
        expect?.Invoke(name, shape);
        return new(name, device.Full(shape, value), decays: false);
    }

    /// <summary>Given values.</summary>
    public Parameter From(string name, Shape shape, float[] values)
    {
        expect?.Invoke(name, shape);
        return new(name, device.From(shape, values), decays: false);
    }

    /// <summary>A random stream for values made by hand.</summary>
    public CounterRandom Random() => new(seed, _next++);
}
