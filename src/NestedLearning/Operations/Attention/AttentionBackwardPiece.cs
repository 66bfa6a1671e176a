using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>
/// The gradient of one head's attention, by blocks of queries, in order:
/// <code>
/// p = e^(s − logSum);  dv += pᵀ do;  ds = p ∘ (do vᵀ − ⟨do, o⟩);  dq = scale · ds k;  dk += dsᵀ (scale q)
/// </code>
/// </summary>
internal readonly unsafe struct AttentionBackwardPiece(
    AttentionInputs inputs, AttentionSettings settings, AttentionOutputs outputs, Tensor dOutput, AttentionGradients gradients)
    : IPieceAction
{
    public void Invoke(int piece)
    {
        var measure = new ScratchArena<float>(null);
        _ = new State(ref measure, inputs, settings, outputs, dOutput, gradients, piece);
        var arena = new ScratchArena<float>(Scratch.Take(measure.Length));
        new State(ref arena, inputs, settings, outputs, dOutput, gradients, piece).Run();
    }

    private struct State
    {
        private readonly Rows<float> _q, _k, _v, _o, _dO, _logSums, _dq, _dk, _dv;
        private readonly Rows<float> _dQueries;
        private readonly float* _blockLogSums, _deltas, _dOTransposed, _dScores;
        private readonly int _time, _keys, _keyDim, _valueDim;
        private readonly float _scale;
        private AttentionBlock _block;

        public State(
            ref ScratchArena<float> arena, in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs,
            Tensor dOutput, in AttentionGradients gradients, int head)
        {
            (_time, _keys, _keyDim, _valueDim, _scale) = (inputs.Time, inputs.Keys, inputs.KeyDim, inputs.ValueDim, settings.Scale);
            (_q, _k, _v) = (HeadRows.Tokens(inputs.Q, head), HeadRows.Tokens(inputs.K, head), HeadRows.Tokens(inputs.V, head));
            (_o, _logSums, _dO) = (HeadRows.Tokens(outputs.O, head), HeadRows.Tokens(outputs.LogSums, head),
                HeadRows.Tokens(dOutput, head));
            (_dq, _dk, _dv) = (HeadRows.Tokens(gradients.Q, head), HeadRows.Tokens(gradients.K, head), HeadRows.Tokens(gradients.V, head));
            _block = new AttentionBlock(ref arena, inputs, settings, head);
            _dQueries = arena.Matrix(AttentionBlock.Size, _keyDim);
            _blockLogSums = arena.Vector(AttentionBlock.Size);
            _deltas = arena.Vector(AttentionBlock.Size);
            _dOTransposed = arena.Vector(AttentionBlock.Size * _valueDim);
            _dScores = arena.Vector(AttentionBlock.Size * AttentionBlock.Size);
        }

        public void Run()
        {
            if (!_dk.IsNull)
                Clear(_dk, _keys, _keyDim);
            if (!_dv.IsNull)
                Clear(_dv, _keys, _valueDim);
            for (int first = 0; first < _time; first += AttentionBlock.Size)
            {
                int queries = Math.Min(AttentionBlock.Size, _time - first);
                _block.Load(_q, first, queries);
                Rows<float> dO = _dO.From(first);
                for (int i = 0; i < queries; i++)
                {
                    _blockLogSums[i] = *_logSums[first + i];
                    _deltas[i] = Dot(dO[i], _o[first + i], _valueDim);
                }

                Rows<float> transposed = Transpose(dO, queries, _valueDim, _dOTransposed);
                Clear(_dQueries, queries, _keyDim);
                for (int j = 0; j < _block.Before; j += AttentionBlock.Size)
                    Add(dO, transposed, j, Math.Min(AttentionBlock.Size, _block.Before - j), triangle: false);
                Add(dO, transposed, _block.Before, queries, triangle: true);
                for (int i = 0; !_dq.IsNull && i < queries; i++)
                {
                    TensorPrimitives.Multiply(Span(_dQueries[i], _keyDim), _scale, Span(_dq[first + i], _keyDim));
                    Subnormals.Flush(Span(_dq[first + i], _keyDim));
                }
            }

            StoreRows(_dk, _keys, _keyDim, _dk);
            StoreRows(_dv, _keys, _valueDim, _dv);
        }

        // Of one block of keys. What stands in the half of a triangle that no query sees is never read.
        private readonly void Add(Rows<float> dO, Rows<float> dOTransposed, int first, int keys, bool triangle)
        {
            int n = _block.Queries;
            _block.Score(first, keys, triangle);
            _block.Exponentiate(keys, Span(_blockLogSums, n));
            if (!_dv.IsNull)
                _block.AddKeys(_dv.From(first), _block.Scores, dO, keys, _valueDim, triangle);
            if (_dq.IsNull && _dk.IsNull)
                return;
            var dScores = new Rows<float>(_dScores, n);
            Clear(dScores, keys, n);
            SmallProducts.Add(dScores, _v.From(first), dOTransposed, keys, n, _valueDim);
            for (int j = 0; j < keys; j++)
            {
                Span<float> row = Span(dScores[j], n);
                TensorPrimitives.Subtract(row, Span(_deltas, n), row);
                TensorPrimitives.Multiply(row, Span(_block.Scores[j], n), row);
                Subnormals.Flush(row);
            }

            if (!_dk.IsNull)
                _block.AddKeys(_dk.From(first), dScores, _block.Q, keys, _keyDim, triangle);
            if (!_dq.IsNull)
                _block.AddQueries(_dQueries, dScores, _k.From(first), keys, _keyDim, triangle);
        }
    }
}
