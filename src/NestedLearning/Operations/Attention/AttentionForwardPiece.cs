using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>The attention of one block of a head's queries, with the maximum and the sum so far of each (online softmax).</summary>
internal readonly unsafe struct AttentionForwardPiece : IPieceAction
{
    private readonly AttentionInputs _inputs;
    private readonly AttentionSettings _settings;
    private readonly AttentionOutputs _outputs;
    private readonly int _blocks;

    public AttentionForwardPiece(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs)
    {
        _inputs = inputs;
        _settings = settings;
        _outputs = outputs;
        _blocks = (inputs.Time + AttentionBlock.Size - 1) / AttentionBlock.Size;
    }

    public int Pieces => _inputs.Batch * _inputs.Heads * _blocks;

    public void Invoke(int piece)
    {
        // The last block sees most and comes first.
        int head = piece / _blocks, first = (_blocks - 1 - piece % _blocks) * AttentionBlock.Size;
        int queries = Math.Min(AttentionBlock.Size, _inputs.Time - first);
        var measure = new ScratchArena<float>(null);
        _ = new State(ref measure, _inputs, _settings, head);
        var arena = new ScratchArena<float>(Scratch.Take(measure.Length));
        var state = new State(ref arena, _inputs, _settings, head);
        state.Start(HeadRows.Tokens(_inputs.Q, head), first, queries);
        for (int j = 0; j < state.Block.Before; j += AttentionBlock.Size)
            state.Add(j, Math.Min(AttentionBlock.Size, state.Block.Before - j), triangle: false);
        state.Add(state.Block.Before, queries, triangle: true);
        state.Finish(
            HeadRows.Tokens(_outputs.O, head).From(first),
            HeadRows.Tokens(_outputs.LogSums, head).From(first));
    }

    private struct State
    {
        private readonly Rows<float> _v, _o;
        private readonly float* _maxima, _before, _sums;
        private readonly int _valueDim;

        public AttentionBlock Block;

        public State(ref ScratchArena<float> arena, in AttentionInputs inputs, AttentionSettings settings, int head)
        {
            Block = new AttentionBlock(ref arena, inputs, settings, head);
            _valueDim = inputs.ValueDim;
            _v = HeadRows.Tokens(inputs.V, head);
            _o = arena.Matrix(AttentionBlock.Size, _valueDim);
            _maxima = arena.Vector(AttentionBlock.Size);
            _before = arena.Vector(AttentionBlock.Size);
            _sums = arena.Vector(AttentionBlock.Size);
        }

        public void Start(Rows<float> q, int first, int queries)
        {
            Block.Load(q, first, queries);
            Clear(_o, queries, _valueDim);
            Span(_maxima, queries).Fill(float.NegativeInfinity);
            Span(_sums, queries).Clear();
        }

        public readonly void Add(int first, int keys, bool triangle)
        {
            int n = Block.Queries;
            Span<float> maxima = Span(_maxima, n), before = Span(_before, n), sums = Span(_sums, n);
            Block.Score(first, keys, triangle);
            maxima.CopyTo(before);
            for (int j = 0; j < keys; j++)
                TensorPrimitives.Max(maxima, Span(Block.Scores[j], n), maxima);
            Block.Exponentiate(keys, maxima);

            // What was summed against the earlier maximum.
            TensorPrimitives.Subtract(before, maxima, before);
            TensorPrimitives.Exp(before, before);
            Subnormals.Flush(before);
            TensorPrimitives.Multiply(sums, before, sums);
            for (int j = 0; j < keys; j++)
                TensorPrimitives.Add(sums, Span(Block.Scores[j], n), sums);
            ScaleRows(_o, _before, n, _valueDim, _o);
            Block.AddQueries(_o, Block.Scores, _v.From(first), keys, _valueDim, triangle);
        }

        public readonly void Finish(Rows<float> o, Rows<float> logSums)
        {
            for (int i = 0; i < Block.Queries; i++)
            {
                TensorPrimitives.Divide(Span(_o[i], _valueDim), _sums[i], Span(o[i], _valueDim));
                Subnormals.Flush(Span(o[i], _valueDim));
                if (!logSums.IsNull)
                    *logSums[i] = (float)(_maxima[i] + Math.Log(_sums[i]));
            }
        }
    }
}
