namespace NestedLearning.Models;

/// <summary>
/// Rotary position embedding (Su et al., arXiv 2104.09864): elements i and i + D/2 of a head are turned together by the angle
/// n · base^(−2i/D) at position n, so that a score depends on the distance of its tokens. Composed of two products:
/// x ∘ cos + (x R) ∘ sin, where R swaps the halves.
/// </summary>
internal sealed class RotaryEmbedding(Tape tape, Shape shape, long position, int tokensPerPosition, float radix)
{
    private readonly Variable _swap = Swap(tape, shape.Last);
    private readonly Variable _cos = Table(tape, shape, position, tokensPerPosition, radix, Math.Cos, odd: 1);
    private readonly Variable _sin = Table(tape, shape, position, tokensPerPosition, radix, Math.Sin, odd: 0);

    /// <summary>x [B, T, H, D] turned, of the shape that was given.</summary>
    public Variable Turn(Variable x) => tape.Add(tape.Multiply(x, _cos), tape.Multiply(tape.Linear(x, _swap), _sin));

    private static Variable Swap(Tape tape, int width)
    {
        int half = width / 2;
        float[] swap = new float[width * width];
        for (int i = 0; i < half; i++)
        {
            swap[(half + i) * width + i] = -1;
            swap[i * width + half + i] = 1;
        }

        return tape.Input(tape.Keep(tape.Device.From([width, width], swap)));
    }

    // An odd last element is left as it is.
    private static Variable Table(Tape tape, Shape shape, long position, int tokensPerPosition, float radix, Func<double, double> f, float odd)
    {
        (int batch, int time, int heads, int width) = (shape[0], shape[1], shape[2], shape[3]);
        int half = width / 2, token = heads * width;
        float[] table = new float[shape.ElementCount];
        for (int t = 0; t < time; t++)
        {
            Span<float> head = table.AsSpan(t * token, width);
            head[^1] = odd;
            for (int i = 0; i < half; i++)
                head[i] = head[half + i] = (float)f((position + t / tokensPerPosition) * Math.Pow(radix, -2.0 * i / width));
            for (int h = 1; h < heads; h++)
                head.CopyTo(table.AsSpan(t * token + h * width));
        }

        for (int b = 1; b < batch; b++)
            table.AsSpan(0, time * token).CopyTo(table.AsSpan(b * time * token));
        return tape.Input(tape.Keep(tape.Device.From(shape, table)));
    }
}
