namespace NestedLearning;

/// <summary>
/// The gradient of a linear layer's weight W [K, N], y = x W, before it is multiplied out: dW = Σ over tokens of xᵀ dy. Kept
/// for optimizers that use what a token's input and error say apart, such as <see cref="DeltaGradientDescent"/>.
/// </summary>
public sealed class GradientFactors : IDisposable
{
    private readonly List<(Tensor X, Tensor Dy)> _segments = [];
    private readonly Tensor _weight;

    internal GradientFactors(Tensor weight) => _weight = weight;

    /// <summary>Inputs [T, K] and gradients of the outputs [T, N], in the order in which they came.</summary>
    public IReadOnlyList<(Tensor X, Tensor Dy)> Segments => _segments;

    /// <summary>How many tokens wait.</summary>
    public int Tokens => _segments.Sum(s => s.X.Shape[0]);

    /// <summary>The size of all that waits.</summary>
    public long Bytes => _segments.Sum(s => sizeof(float) * ((long)s.X.Count + s.Dy.Count));

    /// <summary>Adds the factors of some tokens, which are copied: x [.., K] and dy [.., N].</summary>
    /// <exception cref="ArgumentException">The shapes or devices do not fit.</exception>
    public void Add(Tensor x, Tensor dy)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(dy);
        Require.OnDevice(x, _weight.Device);
        Require.OnDevice(dy, _weight.Device);
        int tokens = x.Shape.Rows;
        if (x.Shape.Last != _weight.Shape[0])
            throw new ArgumentException($"x has shape {x.Shape}, expected [.., {_weight.Shape[0]}].", nameof(x));
        if (dy.Shape.Last != _weight.Shape[1] || dy.Shape.Rows != tokens)
            throw new ArgumentException($"dy has shape {dy.Shape}, expected {tokens} rows of {_weight.Shape[1]}.", nameof(dy));
        using Tensor rows = x.Reshape([tokens, x.Shape.Last]), errors = dy.Reshape([tokens, dy.Shape.Last]);
        _segments.Add((rows.Clone(), errors.Clone()));
    }

    /// <summary>gradient [K, N] += Σ xᵀ dy.</summary>
    public void AddProductTo(Tensor gradient)
    {
        foreach ((Tensor x, Tensor dy) in _segments)
            Gemm.Multiply(new GemmArguments { A = x, TransposeA = true, B = dy, C = gradient, Accumulate = true });
    }

    /// <summary>Forgets all factors.</summary>
    public void Clear() => KeepFirst(0);

    /// <summary>Forgets all segments but this many, the oldest.</summary>
    internal void KeepFirst(int segments)
    {
        foreach ((Tensor x, Tensor dy) in _segments[segments..])
        {
            x.Dispose();
            dy.Dispose();
        }

        _segments.RemoveRange(segments, _segments.Count - segments);
    }

    /// <inheritdoc/>
    public void Dispose() => Clear();

    /// <summary>Writes x and dy of all tokens, and how many tokens each segment has.</summary>
    internal void Save(SafetensorsFile file, string name)
    {
        file.Add(name + ".x", [Tokens, _weight.Shape[0]], [.. _segments.SelectMany(s => s.X.ToArray())]);
        file.Add(name + ".dy", [Tokens, _weight.Shape[1]], [.. _segments.SelectMany(s => s.Dy.ToArray())]);
        file.Add(name + ".segments", [.. _segments.Select(s => (long)s.X.Shape[0])]);
    }

    /// <summary>Checks what <see cref="Save"/> wrote, and returns what takes it over.</summary>
    /// <exception cref="CheckpointException">Something is missing or does not fit. Nothing changed.</exception>
    internal Action PrepareLoad(SafetensorsFile file, string name)
    {
        long[] lengths = file.Integers(name + ".segments", file.ShapeOf(name + ".segments").ElementCount).ToArray();
        if (Array.Exists(lengths, l => l is < 0 or > int.MaxValue) || lengths.Sum() > int.MaxValue)
            throw new CheckpointException($"'{name}.segments' has a number of tokens that cannot be.");
        int tokens = (int)lengths.Sum(), width = _weight.Shape[0], outputs = _weight.Shape[1];
        file.Floats(name + ".x", [tokens, width]);
        file.Floats(name + ".dy", [tokens, outputs]);
        return () =>
        {
            Clear();
            ReadOnlySpan<float> x = file.Floats(name + ".x"), dy = file.Floats(name + ".dy");
            foreach (int length in lengths)
            {
                _segments.Add((_weight.Device.From([length, width], x[..(length * width)]),
                    _weight.Device.From([length, outputs], dy[..(length * outputs)])));
                x = x[(length * width)..];
                dy = dy[(length * outputs)..];
            }
        };
    }
}
