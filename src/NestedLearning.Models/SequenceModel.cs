using System.Diagnostics;

namespace NestedLearning.Models;

/// <summary>
/// A model over tokens: embedding, blocks of a token mixer and a continuum memory system, and an output head tied to the
/// embedding. Slow weights belong to <see cref="Levels"/>; fast memory is a <see cref="SequenceState"/>, one a stream.
/// </summary>
public sealed partial class SequenceModel : IDisposable
{
    private const string LevelsPrefix = "levels.";

    private readonly Parameter _embedding;
    private readonly Parameter _finalNorm;
    private readonly (ITokenMixer Mixer, ContinuumMemoryBlock Memory)[] _blocks;

    /// <summary>A model with random initial values.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range.</exception>
    public SequenceModel(Device device, ModelConfiguration configuration)
        : this(device, configuration, expect: null)
    {
    }

    internal SequenceModel(Device device, ModelConfiguration configuration, Action<string, Shape>? expect)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(configuration);
        configuration.Validate();
        Device = device;
        Configuration = configuration;
        var make = new ParameterFactory(device, configuration.Seed, expect);
        int[] hidden = [.. configuration.LevelsOfContinuum.Select(l => l.Hidden)];

        // Each block adds one term for its mixer and one for each level: together as large as the embedding.
        double deviation = 1 / Math.Sqrt(configuration.Blocks * (1 + hidden.Length));
        _embedding = make.Normal("embedding", [configuration.Vocabulary, configuration.Dim], 1 / Math.Sqrt(configuration.Dim));
        _blocks = [.. Enumerable.Range(0, configuration.Blocks).Select(b => (
            NewMixer(make, $"block{b}", deviation),
            new ContinuumMemoryBlock(make, $"block{b}.memory", configuration.Dim, hidden, configuration.Continuum, deviation)))];
        _finalNorm = make.Constant("final_norm", [configuration.Dim], 1);
        Levels = new LevelSystem(configuration.Levels.Select(NewLevel));
    }

    /// <summary>Where the model lives.</summary>
    public Device Device { get; }

    /// <summary>Its shape.</summary>
    public ModelConfiguration Configuration { get; }

    /// <summary>The levels that its parameters belong to.</summary>
    public LevelSystem Levels { get; }

    /// <summary>The number of parameters, the fast memories' starts among them.</summary>
    public long ParameterCount => Levels.Parameters.Sum(p => (long)p.Value.Count);

    /// <summary>Fast memory for a batch of new streams.</summary>
    public SequenceState NewState(int batch = 1)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        return new SequenceState(Configuration, batch, [.. Mixers.Select(m => new MixerState(Device, m.State, batch))]);
    }

    /// <summary>Logits [B, T, V] for tokens [B, T], and the fast memory after them; the given one is only read.</summary>
    /// <exception cref="ArgumentException">The tokens are not [B, T] with the state's B, or run past the end of a context.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is not in the vocabulary.</exception>
    public (Variable Logits, SequenceState Next) Forward(Tape tape, IndexTensor tokens, SequenceState state)
    {
        ArgumentNullException.ThrowIfNull(tape);
        ArgumentNullException.ThrowIfNull(tokens);
        ArgumentNullException.ThrowIfNull(state);
        if (tokens.Shape.Rank != 2 || tokens.Shape[0] != state.Batch || tokens.Shape[1] == 0)
            throw new ArgumentException($"tokens has shape {tokens.Shape}, expected [{state.Batch}, T] with T at least 1.", nameof(tokens));
        Variable embedding = tape.Use(_embedding);
        (Variable y, SequenceState next) = Transform(tape, tape.Embedding(tokens, embedding), state);
        return (tape.Linear(y, embedding, transposeWeight: true), next);
    }

    /// <summary>
    /// The blocks and the final norm alone, for inputs that are not tokens: y [B, T, D] for x [B, T, D], and the fast memory
    /// after them; the given one is only read.
    /// </summary>
    /// <exception cref="ArgumentException">x is not [B, T, D] with the state's B, or runs past the end of a context.</exception>
    public (Variable Y, SequenceState Next) Transform(Tape tape, Variable x, SequenceState state)
    {
        ArgumentNullException.ThrowIfNull(tape);
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(state);
        if (x.Shape.Rank != 3 || x.Shape[0] != state.Batch || x.Shape[1] == 0 || x.Shape[2] != Configuration.Dim)
            throw new ArgumentException($"x has shape {x.Shape}, expected [{state.Batch}, T, {Configuration.Dim}] with T at least 1.",
                nameof(x));
        if (x.Shape[1] > StepsToContextEnd(state))
            throw new ArgumentException(
                $"{x.Shape[1]} tokens run past the end of the context, expected at most {StepsToContextEnd(state)}.", nameof(x));
        var next = new MixerState[_blocks.Length];
        try
        {
            for (int b = 0; b < _blocks.Length; b++)
            {
                (x, next[b]) = _blocks[b].Mixer.Forward(tape, x, state.Blocks[b]);
                x = _blocks[b].Memory.Forward(tape, x);
            }

            Variable y = tape.Norm(NormKind.Rms, x, tape.Use(_finalNorm));
            var after = new SequenceState(Configuration, state.Batch, next);
            if (after.ContextPosition == Configuration.ContextLength)
                after.EndContext();
            return (y, after);
        }
        catch
        {
            foreach (MixerState? block in next)
                block?.Dispose();
            throw;
        }
    }

    /// <summary>How many tokens the stream's context still takes before its fast memories return to their start.</summary>
    public int StepsToContextEnd(SequenceState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        return Configuration.ContextLength == 0 ? int.MaxValue : Configuration.ContextLength - (int)state.ContextPosition;
    }

    /// <summary>The model as its nest of levels: every memory on one axis, from the fastest to the slowest.</summary>
    /// <param name="context">Tokens of a context after which fast memories are measured; null is just before the context ends, or the
    /// slowest level's chunk where it never does.</param>
    /// <param name="batch">The sequences whose fast memories are measured.</param>
    /// <exception cref="ArgumentOutOfRangeException">A context that the model does not have, or no sequence.</exception>
    public ModelDescription Describe(long? context = null, int batch = 1)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        long most = Configuration.ContextLength == 0 ? int.MaxValue : Configuration.ContextLength - 1;
        long tokens = context ?? (Configuration.ContextLength == 0 ? Configuration.Levels[^1].Chunk : most);
        if (tokens < 0 || tokens > most)
            throw new ArgumentOutOfRangeException(nameof(context), tokens, $"context is {tokens}, expected 0 to {most} tokens.");
        return ModelDescriber.Describe(this, tokens, batch);
    }

    /// <summary>The same with the fast memories of a state.</summary>
    public ModelDescription Describe(SequenceState state)
    {
        ArgumentNullException.ThrowIfNull(state);
        return ModelDescriber.Describe(this, state.ContextPosition, state.Batch);
    }

    /// <summary>Frees the parameters and their optimizer memories.</summary>
    public void Dispose() => Levels.Dispose();

    internal IEnumerable<Parameter> ContinuumParameters =>
        Enumerable.Range(0, Configuration.LevelsOfContinuum.Count())
            .SelectMany(level => _blocks.SelectMany(b => b.Memory.Parameters(level)));

    internal IEnumerable<ITokenMixer> Mixers => _blocks.Select(b => b.Mixer);

    private ITokenMixer NewMixer(ParameterFactory make, string block, double deviation) => Configuration.Mixer switch
    {
        TokenMixer.SelfModifyingTitans => new SelfModifyingTitans(make, $"{block}.titans", Configuration, deviation),
        TokenMixer.Attention => new AttentionMixer(make, $"{block}.attention", Configuration, deviation),
        TokenMixer.Titans => new MemoryMixer(make, $"{block}.titans", Configuration, MemoryRule.Titans, deviation),
        TokenMixer.TitansAsContext => new MemoryAsContext(make, $"{block}.titans", Configuration, deviation),
        TokenMixer.TitansAsGate => new MemoryAsGate(make, $"{block}.titans", Configuration, deviation),
        TokenMixer.TitansAsLayer => new MemoryAsLayer(make, $"{block}.titans", Configuration, deviation),
        TokenMixer.DeltaNet => new MemoryMixer(make, $"{block}.delta", Configuration, MemoryRule.Delta, deviation),
        TokenMixer.LinearAttention => new MemoryMixer(make, $"{block}.linear", Configuration, MemoryRule.Hebbian, deviation),
        _ => throw new UnreachableException(),
    };

    private Level NewLevel(LevelConfiguration level, int index)
    {
        LevelConfiguration[] continuum = [.. Configuration.LevelsOfContinuum];
        int place = level.Hidden == 0 ? -1 : Configuration.Levels.Take(index).Count(l => l.Hidden > 0);
        IEnumerable<Parameter> parameters = place < 0 ? [] : _blocks.SelectMany(b => b.Memory.Parameters(place));
        if (index == Configuration.ProjectionLevel)
            parameters = [_embedding, _finalNorm, .. Mixers.SelectMany(m => m.Parameters), .. parameters];
        Optimizer optimizer = level.Optimizer ?? new Adam { Beta2 = Configuration.Beta2, WeightDecay = Configuration.WeightDecay };
        return new Level(level.Name, level.Chunk, level.LearningRate, optimizer, parameters)
        {
            Reduction = level.Reduction ?? ErrorReduction.Mean,
            ClipNorm = level.ClipNorm ?? Configuration.ClipNorm,
            WarmupCommits = level.WarmupCommits ?? Configuration.WarmupCommits,
            Start = place < 0 ? null : ContinuumMemoryBlock.StartOf(_blocks.Select(b => b.Memory), Configuration.Continuum, place,
                [.. continuum.Select(l => l.Chunk)]),
        };
    }
}
