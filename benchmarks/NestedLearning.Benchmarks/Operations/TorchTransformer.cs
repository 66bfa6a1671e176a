using NestedLearning.Models;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.nn.functional;
using TorchParameter = TorchSharp.Modules.Parameter;
using TorchTensor = TorchSharp.torch.Tensor;

namespace NestedLearning.Benchmarks.Operations;

/// <summary>
/// <see cref="ModelConfiguration.Transformer"/> in TorchSharp: blocks of rotary attention and a GELU MLP, each behind an
/// RMSNorm and added to its input; a last RMSNorm; the embedding as output head.
/// </summary>
internal sealed class TorchTransformer : Module<TorchTensor, TorchTensor>
{
    private readonly TorchSharp.Modules.Embedding _embedding;
    private readonly ModuleList<Block> _blocks;
    private readonly RmsNorm _norm;
    private readonly List<(string Name, TorchParameter Parameter, bool Transposed, TorchTensor Start)> _ours = [];

    public TorchTransformer(ModelConfiguration configuration, int time)
        : base(nameof(TorchTransformer))
    {
        (TorchTensor cos, TorchTensor sin) = Rotations(time, configuration.Dim / configuration.Heads, configuration.RotaryBase);
        _embedding = nn.Embedding(configuration.Vocabulary, configuration.Dim);
        _blocks = new ModuleList<Block>([.. Enumerable.Range(0, configuration.Blocks)
            .Select(_ => new Block(configuration.Dim, configuration.Heads, configuration.Levels[0].Hidden, cos, sin))]);
        _norm = new RmsNorm(configuration.Dim);
        RegisterComponents();
    }

    /// <summary>Logits [B, T, V] of tokens [B, T].</summary>
    public override TorchTensor forward(TorchTensor tokens)
    {
        TorchTensor x = _embedding.call(tokens);
        foreach (Block block in _blocks)
            x = block.call(x);
        return linear(_norm.call(x), _embedding.weight!);
    }

    /// <summary>Matrices decay, norms and biases do not.</summary>
    public AdamW.ParamGroup[] ParameterGroups(ModelConfiguration configuration)
    {
        double rate = configuration.Levels[0].LearningRate;
        return
        [
            new(parameters().Where(p => p.dim() > 1), rate, 0.9, configuration.Beta2, 1e-8, configuration.WeightDecay),
            new(parameters().Where(p => p.dim() == 1), rate, 0.9, configuration.Beta2, 1e-8, 0),
        ];
    }

    /// <summary>Takes over the weights of ours.</summary>
    public void CopyFrom(SequenceModel model)
    {
        Take("embedding", _embedding.weight!, transposed: false);
        for (int b = 0; b < _blocks.Count; b++)
            _blocks[b].Take($"block{b}", Take);
        Take("final_norm", _norm.Weight, transposed: false);
        if (_ours.Count != model.Levels.Levels[0].Parameters.Count)
            throw new InvalidOperationException($"TorchSharp's model has {_ours.Count} parameters, ours " +
                $"{model.Levels.Levels[0].Parameters.Count}.");

        // As torch.nn.Linear holds matrices: outputs first.
        void Take(string name, TorchParameter parameter, bool transposed)
        {
            using IDisposable noGradient = no_grad();
            TorchTensor start = OfOurs(model, name);
            parameter.copy_(transposed ? start.t() : start);
            _ours.Add((name, parameter, transposed, start));
        }
    }

    /// <summary>
    /// How far the changes since <see cref="CopyFrom"/> differ from ours, by parameter: the length of their difference over
    /// that of ours.
    /// </summary>
    public IEnumerable<(string Name, double Difference)> DifferenceOfChanges(SequenceModel model)
    {
        using IDisposable noGradient = no_grad();
        foreach ((string name, TorchParameter parameter, bool transposed, TorchTensor start) in _ours)
        {
            TorchTensor ours = OfOurs(model, name) - start, theirs = (transposed ? parameter.t() : parameter) - start;
            yield return (name, ((theirs - ours).norm() / ours.norm()).item<float>());
        }
    }

    private static TorchTensor OfOurs(SequenceModel model, string name)
    {
        NestedLearning.Tensor value = model.Levels.Levels[0].Parameters.Single(p => p.Name == name).Value;
        return tensor(value.ToArray()).reshape([.. value.Shape.Select(n => (long)n)]);
    }

    // cos and sin [T, D] of position · base^(−2i/D), both halves alike.
    private static (TorchTensor Cos, TorchTensor Sin) Rotations(int time, int width, float radix)
    {
        TorchTensor frequencies = exp(arange(0, width, 2, float64) * (-Math.Log(radix) / width));
        TorchTensor angles = outer(arange(time, float64), frequencies);
        angles = cat([angles, angles], 1);
        return (angles.cos().to(float32), angles.sin().to(float32));
    }

    /// <summary>x / √(mean x² + ε) ∘ weight: TorchSharp has no module for it.</summary>
    private sealed class RmsNorm : Module<TorchTensor, TorchTensor>
    {
        private readonly TorchParameter _weight;

        public RmsNorm(int dim)
            : base(nameof(RmsNorm))
        {
            _weight = nn.Parameter(ones(dim));
            RegisterComponents();
        }

        public TorchParameter Weight => _weight;

        public override TorchTensor forward(TorchTensor x) => x * rsqrt(x.square().mean([-1], keepdim: true) + 1e-6) * _weight;
    }

    private sealed class Block : Module<TorchTensor, TorchTensor>
    {
        private readonly int _heads;
        private readonly TorchTensor _cos, _sin;
        private readonly RmsNorm _attentionNorm, _mlpNorm;
        private readonly Linear _query, _key, _value, _output, _in, _out;

        public Block(int dim, int heads, int hidden, TorchTensor cos, TorchTensor sin)
            : base(nameof(Block))
        {
            (_heads, _cos, _sin) = (heads, cos, sin);
            (_attentionNorm, _mlpNorm) = (new RmsNorm(dim), new RmsNorm(dim));
            _query = nn.Linear(dim, dim, hasBias: false);
            _key = nn.Linear(dim, dim, hasBias: false);
            _value = nn.Linear(dim, dim, hasBias: false);
            _output = nn.Linear(dim, dim, hasBias: false);
            _in = nn.Linear(dim, hidden);
            _out = nn.Linear(hidden, dim, hasBias: false);
            RegisterComponents();
        }

        public override TorchTensor forward(TorchTensor x)
        {
            TorchTensor normed = _attentionNorm.call(x);
            TorchTensor read = scaled_dot_product_attention(
                Turn(ByHead(_query.call(normed))), Turn(ByHead(_key.call(normed))), ByHead(_value.call(normed)), is_casual: true);
            x = x + _output.call(read.transpose(1, 2).reshape(x.shape));
            return x + _out.call(gelu(_in.call(_mlpNorm.call(x))));
        }

        public void Take(string block, Action<string, TorchParameter, bool> take)
        {
            take($"{block}.attention.norm", _attentionNorm.Weight, false);
            take($"{block}.attention.query", _query.weight!, true);
            take($"{block}.attention.key", _key.weight!, true);
            take($"{block}.attention.value", _value.weight!, true);
            take($"{block}.attention.output", _output.weight!, true);
            take($"{block}.memory.0.norm", _mlpNorm.Weight, false);
            take($"{block}.memory.0.in", _in.weight!, true);
            take($"{block}.memory.0.in_bias", _in.bias!, false);
            take($"{block}.memory.0.out", _out.weight!, true);
        }

        // [B, H, T, D/H]
        private TorchTensor ByHead(TorchTensor x) => x.view(x.shape[0], x.shape[1], _heads, x.shape[2] / _heads).transpose(1, 2);

        private TorchTensor Turn(TorchTensor x)
        {
            TorchTensor[] halves = x.chunk(2, -1);
            return x * _cos + cat([-halves[1], halves[0]], -1) * _sin;
        }
    }
}
