namespace NestedLearning.Testing;

/// <summary>Seeded data: each call draws from a stream of its own, so adding one at the end changes no other.</summary>
public sealed class TestData(ulong seed)
{
    private ulong _stream;

    /// <summary>Normal numbers.</summary>
    public float[] Normal(int count, float deviation = 1)
    {
        float[] elements = new float[count];
        new CounterRandom(seed, _stream++).FillNormal(elements, deviation);
        return elements;
    }

    /// <inheritdoc cref="Normal(int, float)"/>
    public float[] Normal(Shape shape, float deviation = 1) => Normal(shape.ElementCount, deviation);

    /// <summary>Numbers uniform in [low, high).</summary>
    public float[] Uniform(int count, float low, float high)
    {
        float[] elements = new float[count];
        new CounterRandom(seed, _stream++).FillUniform(elements, low, high);
        return elements;
    }

    /// <inheritdoc cref="Uniform(int, float, float)"/>
    public float[] Uniform(Shape shape, float low, float high) => Uniform(shape.ElementCount, low, high);

    /// <summary>Integers uniform in [0, bound).</summary>
    public int[] Below(int count, int bound)
    {
        var random = new CounterRandom(seed, _stream++);
        int[] elements = new int[count];
        for (int i = 0; i < count; i++)
            elements[i] = random.Below((ulong)i, bound);
        return elements;
    }

    /// <summary>Rows of normal numbers, each of length one.</summary>
    public float[] UnitRows(Shape shape)
    {
        float[] elements = Normal(shape);
        int width = shape.Last;
        for (int row = 0; row < shape.Rows; row++)
        {
            Span<float> x = elements.AsSpan(row * width, width);
            double sum = 0;
            foreach (float e in x)
                sum += (double)e * e;
            float factor = (float)(1 / Math.Sqrt(Math.Max(sum, 1e-12)));
            foreach (ref float e in x)
                e *= factor;
        }

        return elements;
    }
}
