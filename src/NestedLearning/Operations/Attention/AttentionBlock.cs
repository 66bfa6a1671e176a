using System.Numerics;
using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>
/// A block of one head's queries, and its scores with a block of keys. Scores stand transposed, [keys, queries], so that
/// maxima and sums over keys run down vectors of queries. The keys are those that all the queries see, block by block,
/// and then the queries' own tokens, whose scores are a triangle: query i sees the first i + 1.
/// </summary>
internal unsafe struct AttentionBlock
{
    /// <summary>Most queries, and most keys, of a block.</summary>
    public const int Size = 64;

    private readonly float* _queries;
    private readonly Rows<float> _k;
    private readonly int _keyDim, _past;
    private readonly float _scale;
    private Rows<float> _transposed;

    /// <summary>Takes its scratch memory; <see cref="Load"/> fills it.</summary>
    public AttentionBlock(ref ScratchArena<float> arena, in AttentionInputs inputs, AttentionSettings settings, int head)
    {
        _keyDim = inputs.KeyDim;
        _past = inputs.Keys - inputs.Time;
        _scale = settings.Scale;
        _k = HeadRows.Tokens(inputs.K, head);
        _queries = arena.Vector(_keyDim * Size);
        Q = arena.Matrix(Size, _keyDim);
        Scores = new Rows<float>(arena.Vector(Size * Size), 0);
    }

    /// <summary>scale q [queries, Dk].</summary>
    public Rows<float> Q { get; }

    /// <summary>[keys, queries].</summary>
    public Rows<float> Scores { get; private set; }

    public int Queries { get; private set; }

    /// <summary>The keys that all the queries see, before their own tokens'.</summary>
    public int Before { get; private set; }

    public void Load(Rows<float> q, int first, int queries)
    {
        (Queries, Before) = (queries, _past + first);
        for (int i = 0; i < queries; i++)
            TensorPrimitives.Multiply(Span(q[first + i], _keyDim), _scale, Span(Q[i], _keyDim));
        _transposed = Transpose(Q, queries, _keyDim, _queries);
        Scores = new Rows<float>(Scores.Start, queries);
    }

    /// <summary>Scores of the keys from <paramref name="first"/> on; −∞ where a query of the triangle sees none.</summary>
    public readonly void Score(int first, int keys, bool triangle)
    {
        Clear(Scores, keys, Queries);
        Add(Scores, _k.From(first), _transposed, keys, Queries, _keyDim);
        for (int j = 1; triangle && j < keys; j++)
            Span(Scores[j], j).Fill(float.NegativeInfinity);
    }

    /// <summary>Every score becomes e^(score − offset of its query).</summary>
    public readonly void Exponentiate(int keys, Span<float> offsets)
    {
        for (int j = 0; j < keys; j++)
        {
            Span<float> row = Span(Scores[j], Queries);
            VectorMath.Map<ExpOfDifference>(row, offsets, row);
        }
    }

    /// <summary>C [queries, n] += scores-like A [keys, queries], transposed, times rows B; the triangle's other half is not read.</summary>
    public readonly void AddQueries(Rows<float> c, Rows<float> a, Rows<float> b, int keys, int n, bool triangle)
    {
        if (triangle)
            AddLower(c, a.Transposed, b, keys, n, strict: false);
        else
            Add(c, a.Transposed, b, Queries, n, keys);
    }

    /// <summary>C [keys, n] += scores-like A [keys, queries] times rows B; the triangle's other half is not read.</summary>
    public readonly void AddKeys(Rows<float> c, Rows<float> a, Rows<float> b, int keys, int n, bool triangle)
    {
        if (triangle)
            AddUpper(c, a, b, keys, n, strict: false);
        else
            Add(c, a, b, keys, n, Queries);
    }

    private readonly struct ExpOfDifference : IVectorFunction2
    {
        public static Vector<float> Invoke(Vector<float> x, Vector<float> y) => VectorMath.Exp(x - y);
    }
}
