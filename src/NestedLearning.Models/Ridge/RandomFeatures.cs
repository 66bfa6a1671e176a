namespace NestedLearning.Models;

/// <summary>What random projections of an input become.</summary>
public enum RandomFeatureKind
{
    /// <summary>GELU(x R + b): ridges of random directions.</summary>
    Gelu,

    /// <summary>√(2/N) cos(x R + b): products of features approach a Gaussian kernel (Rahimi and Recht 2007).</summary>
    Fourier,
}

/// <summary>
/// Fixed random features φ(x R + b) of vectors: R [D, N] is normal with deviation <c>scale</c>/√D, b uniform over a period for Fourier
/// features and normal with deviation <c>scale</c> for GELU. They are a function of the settings alone, so that nothing is saved.
/// </summary>
public sealed class RandomFeatures : IDisposable
{
    private readonly Tensor _projection, _bias;

    /// <summary>Features of a seed.</summary>
    /// <param name="device">Where they are computed.</param>
    /// <param name="inputs">D, at least 1.</param>
    /// <param name="features">N, at least 1.</param>
    /// <param name="kind">What becomes of the projections.</param>
    /// <param name="scale">The deviation of a projection of an input whose elements have about unit size; above 0.</param>
    /// <param name="seed">Of the random numbers.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is out of its range.</exception>
    public RandomFeatures(Device device, int inputs, int features, RandomFeatureKind kind = RandomFeatureKind.Gelu, float scale = 1,
        ulong seed = 1)
    {
        ArgumentNullException.ThrowIfNull(device);
        Require.Positive(inputs);
        Require.Positive(features);
        Require.Above(scale, 0);
        if (!Enum.IsDefined(kind))
            throw new ArgumentOutOfRangeException(nameof(kind), kind,
                $"kind is {kind}, expected {string.Join(", ", Enum.GetNames<RandomFeatureKind>())}.");
        (Device, Kind, Inputs, Features) = (device, kind, inputs, features);
        Shape shape = [inputs, features];
        float[] projection = new float[shape.ElementCount], bias = new float[features];
        new CounterRandom(seed, 0).FillNormal(projection, (float)(scale / Math.Sqrt(inputs)));
        if (kind == RandomFeatureKind.Fourier)
            new CounterRandom(seed, 1).FillUniform(bias, 0, 2 * MathF.PI);
        else
            new CounterRandom(seed, 1).FillNormal(bias, scale);
        _projection = device.From(shape, projection);
        _bias = device.From([features], bias);
    }

    /// <summary>Where they are computed.</summary>
    public Device Device { get; }

    /// <summary>What becomes of the projections.</summary>
    public RandomFeatureKind Kind { get; }

    /// <summary>D.</summary>
    public int Inputs { get; }

    /// <summary>N.</summary>
    public int Features { get; }

    /// <summary>The features [T, N] of x [T, D]; the caller disposes them.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public Tensor Of(Tensor x)
    {
        ArgumentNullException.ThrowIfNull(x);
        if (x.Shape.Rank != 2 || x.Shape[1] != Inputs)
            throw new ArgumentException($"x has shape {x.Shape}, expected [T, {Inputs}].", nameof(x));
        Tensor y = Device.Empty([x.Shape[0], Features]);
        try
        {
            bool bends = Kind == RandomFeatureKind.Gelu;
            Gemm.Multiply(new GemmArguments
            {
                A = x, B = _projection, C = y, Bias = _bias, Epilogue = bends ? Epilogue.Gelu : Epilogue.None,
            });
            if (!bends)
                Wave(y);
            return y;
        }
        catch
        {
            y.Dispose();
            throw;
        }
    }

    /// <summary>The features of a vector of D numbers.</summary>
    /// <exception cref="ArgumentException">There are not D numbers.</exception>
    public float[] Of(ReadOnlySpan<float> x)
    {
        if (x.Length != Inputs)
            throw new ArgumentException($"x has {x.Length} elements, expected {Inputs}.", nameof(x));
        using Tensor one = Device.From([1, Inputs], x), y = Of(one);
        return y.ToArray();
    }

    /// <summary>Frees the projection.</summary>
    public void Dispose()
    {
        _projection.Dispose();
        _bias.Dispose();
    }

    private void Wave(Tensor y)
    {
        float[] elements = y.ToArray();
        float height = MathF.Sqrt(2f / Features);
        for (int i = 0; i < elements.Length; i++)
            elements[i] = height * MathF.Cos(elements[i]);
        y.CopyFrom(elements);
    }
}
