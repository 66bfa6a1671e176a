namespace NestedLearning.Models;

/// <summary>One level of a model: how often it commits, how fast it learns, and the memory block it adds to the continuum.</summary>
/// <param name="Name">The name, as in timelines.</param>
/// <param name="Chunk">C: tokens from one commit to the next.</param>
/// <param name="LearningRate">η of its update rule.</param>
/// <param name="Hidden">The hidden width of its residual MLP in every block. 0, at a model's <see
/// cref="ModelConfiguration.ProjectionLevel"/> alone: it has none, and is a level for embedding, projections and starts.</param>
public sealed record LevelConfiguration(string Name, int Chunk, float LearningRate, int Hidden)
{
    /// <summary>The update rule; null is the model's AdamW.</summary>
    public Optimizer? Optimizer { get; init; }

    /// <summary>How a chunk's error terms are combined; null is the model's way, of a <see cref="ModelConfiguration"/> the mean.</summary>
    public ErrorReduction? Reduction { get; init; }

    /// <summary>Commits over which its learning rate rises; null is the model's.</summary>
    public int? WarmupCommits { get; init; }

    /// <summary>The largest global norm of its error term at a commit, after reduction; null is the model's.</summary>
    public double? ClipNorm { get; init; }

    /// <param name="path">Where it stands in its configuration, such as <c>Levels[0]</c>.</param>
    /// <param name="mayBeEmpty">Whether it may have no MLP.</param>
    /// <exception cref="ArgumentException">A setting is out of its range; the message names it.</exception>
    internal void Validate(string path, bool mayBeEmpty = false)
    {
        if (string.IsNullOrEmpty(Name))
            throw new ArgumentException($"{path}.Name is empty, expected a name.");
        if (!float.IsFinite(LearningRate))
            throw new ArgumentException($"{path}.LearningRate is {LearningRate}, expected a finite number.");
        if (Chunk < 1)
            throw new ArgumentException($"{path}.Chunk is {Chunk}, expected at least 1.");
        if (Hidden < (mayBeEmpty ? 0 : 1))
            throw new ArgumentException($"{path}.Hidden is {Hidden}, expected at least {(mayBeEmpty ? 0 : 1)}.");
        if (Reduction is { } reduction && !Enum.IsDefined(reduction))
            throw new ArgumentException($"{path}.Reduction is {Reduction}, expected {string.Join(", ", Enum.GetNames<ErrorReduction>())}.");
        if (WarmupCommits < 0)
            throw new ArgumentException($"{path}.WarmupCommits is {WarmupCommits}, expected at least 0.");
        if (ClipNorm is { } clip && !(clip > 0))
            throw new ArgumentException($"{path}.ClipNorm is {ClipNorm}, expected above 0.");
        try
        {
            Optimizer?.Validate();
        }
        catch (ArgumentException e)
        {
            throw new ArgumentException($"{path}.Optimizer: {e.Message}", e);
        }
    }
}

/// <summary>
/// Everything that decides what a model is: what mixes its tokens, and the levels of the continuum memory system that
/// stands behind the mixer in every block. The default is Hope (NL 94–97).
/// </summary>
public sealed record ModelConfiguration
{
    /// <summary>What passes information from token to token.</summary>
    public TokenMixer Mixer { get; init; } = TokenMixer.SelfModifyingTitans;

    /// <summary>V: the number of tokens; 256 for bytes.</summary>
    public int Vocabulary { get; init; } = 256;

    /// <summary>D: the width of the residual stream.</summary>
    public int Dim { get; init; } = 128;

    /// <summary>The number of blocks.</summary>
    public int Blocks { get; init; } = 2;

    /// <summary>H: heads of the mixer, each of width D / H.</summary>
    public int Heads { get; init; } = 4;

    /// <summary>Whether a causal convolution of width 4 stands before the mixer's projections.</summary>
    public bool Convolution { get; init; } = true;

    /// <summary>
    /// Whether the delta rule's rate is β = 2 sigmoid(x W + b): its writes I − β kᵀk then have eigenvalues in (−1, 1) and not only
    /// in (0, 1), and can turn a state as well as shrink it (Grazzi et al., arXiv 2411.12537).
    /// </summary>
    public bool NegativeEigenvalues { get; init; }

    /// <summary>
    /// Whether a matrix memory forgets by a learned factor α = sigmoid(x W + <see cref="AlphaBias"/>): retention in place of
    /// linear attention, Gated DeltaNet in place of DeltaNet. Titans always do.
    /// </summary>
    public bool Decay { get; init; }

    /// <summary>The base of attention's rotary position embedding; 0 is no position information.</summary>
    public float RotaryBase { get; init; } = 10_000;

    /// <summary>
    /// Tokens of a segment. <see cref="TokenMixer.TitansAsContext"/> attends within a segment and retrieves from the memory
    /// as it was at the segment's start; <see cref="TokenMixer.TitansAsGate"/> and <see cref="TokenMixer.TitansAsLayer"/>
    /// attend within a segment and the one before.
    /// </summary>
    public int AttentionSegment { get; init; } = 64;

    /// <summary>Learned tokens that every query of Titans' attention sees.</summary>
    public int PersistentTokens { get; init; } = 4;

    /// <summary>Self-modifying Titans: tokens for which the fast memories stay frozen as the source of keys, rates and targets.</summary>
    public int MemoryChunk { get; init; } = 16;

    /// <summary>Self-modifying Titans: the objective the fast memories descend.</summary>
    public MemoryObjective Objective { get; init; } = MemoryObjective.L2;

    /// <summary>Self-modifying Titans: what their memories are, and how they are written and read.</summary>
    public SelfModifyingOptions SelfModifying { get; init; } = new();

    /// <summary>
    /// s_η in η = softplus(M_η(x) + b_η) s_η. A chunk's tokens all descend from the memory at its start, so the rates of
    /// a chunk together must stay well below 1: at 0.2 and chunks of 16 streams diverged.
    /// </summary>
    public float EtaScale { get; init; } = 0.05f;

    /// <summary>b_η.</summary>
    public float EtaBias { get; init; }

    /// <summary>b_α in α = sigmoid(M_α(x) + b_α); with fixed projections where the learned bias of α begins.</summary>
    public float AlphaBias { get; init; } = 7;

    /// <summary>
    /// Tokens after which the fast memories return to their learned start (docs/specification.md, section 5); 0 is never. In a context's
    /// first segment the gradient reaches the start through every write; in later ones it is first order.
    /// </summary>
    public int ContextLength { get; init; } = 256;

    /// <summary>The levels, the fastest first. Their chunks divide one another from fast to slow.</summary>
    public IReadOnlyList<LevelConfiguration> Levels { get; init; } =
    [
        new("fast", 64, 3e-3f, 192),
        new("middle", 256, 3e-3f, 192),
        new("slow", 1024, 3e-3f, 192),
    ];

    /// <summary>How the levels' MLPs of a block are connected, and how else knowledge passes between levels.</summary>
    public ContinuumSettings Continuum { get; init; } = new();

    /// <summary>
    /// The index of the level that embeddings, projections, norms and the fast memories' starts belong to. Slower than
    /// the fastest: everything else is built on them. With a <see cref="LevelConfiguration.Hidden"/> of 0 it is theirs alone.
    /// </summary>
    public int ProjectionLevel { get; init; } = 1;

    /// <summary>Commits over which each level's learning rate rises.</summary>
    public int WarmupCommits { get; init; } = 20;

    /// <summary>The largest global norm of a level's mean error term at a commit.</summary>
    public double ClipNorm { get; init; } = 1;

    /// <summary>AdamW's λ for matrices.</summary>
    public float WeightDecay { get; init; } = 0.01f;

    /// <summary>AdamW's β2; short streams want a shorter memory than 0.999.</summary>
    public float Beta2 { get; init; } = 0.99f;

    /// <summary>Where the random initial values come from.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Hope: self-modifying Titans and a continuum memory system of three levels (NL 94–97).</summary>
    public static ModelConfiguration Hope { get; } = new();

    /// <summary>Hope-Attention: softmax attention in place of the Titans.</summary>
    public static ModelConfiguration HopeAttention { get; } = new() { Mixer = TokenMixer.Attention };

    /// <summary>
    /// A standard Transformer: softmax attention and one MLP (a continuum memory system with k = 1), without convolution.
    /// </summary>
    public static ModelConfiguration Transformer { get; } = new ModelConfiguration
    {
        Mixer = TokenMixer.Attention,
        Convolution = false
    }.WithOneLevel();

    /// <summary>Titans' long-term memory alone (LMM).</summary>
    public static ModelConfiguration TitansMemory { get; } = new ModelConfiguration { Mixer = TokenMixer.Titans }.WithOneLevel();

    /// <summary>Titans, memory as context (MAC).</summary>
    public static ModelConfiguration TitansAsContext { get; } =
        new ModelConfiguration { Mixer = TokenMixer.TitansAsContext }.WithOneLevel();

    /// <summary>Titans, memory as gate (MAG).</summary>
    public static ModelConfiguration TitansAsGate { get; } = new ModelConfiguration { Mixer = TokenMixer.TitansAsGate }.WithOneLevel();

    /// <summary>Titans, memory as layer (MAL).</summary>
    public static ModelConfiguration TitansAsLayer { get; } = new ModelConfiguration { Mixer = TokenMixer.TitansAsLayer }.WithOneLevel();

    /// <summary>DeltaNet: the delta rule with a learned rate.</summary>
    public static ModelConfiguration DeltaNet { get; } = new ModelConfiguration { Mixer = TokenMixer.DeltaNet }.WithOneLevel();

    /// <summary>Gated DeltaNet: the same with a learned decay.</summary>
    public static ModelConfiguration GatedDeltaNet { get; } = DeltaNet with { Decay = true };

    /// <summary>Linear attention.</summary>
    public static ModelConfiguration LinearAttention { get; } =
        new ModelConfiguration { Mixer = TokenMixer.LinearAttention }.WithOneLevel();

    /// <summary>Linear attention with a learned decay, also called retention.</summary>
    public static ModelConfiguration Retention { get; } = LinearAttention with { Decay = true };

    /// <summary>Every preset with its name as the command line spells it.</summary>
    public static IReadOnlyList<(string Name, ModelConfiguration Configuration)> Presets { get; } =
    [
        ("hope", Hope), ("hope-attention", HopeAttention), ("transformer", Transformer), ("titans", TitansMemory),
            ("titans-mac", TitansAsContext),
        ("titans-mag", TitansAsGate), ("titans-mal", TitansAsLayer), ("deltanet", DeltaNet), ("gated-deltanet", GatedDeltaNet),
        ("linear-attention", LinearAttention), ("retention", Retention),
    ];

    /// <summary>
    /// The baseline of the same size: one level (k = 1) at the fastest level's frequency, whose MLPs are as wide as all
    /// levels' together.
    /// </summary>
    public ModelConfiguration WithOneLevel() => this with
    {
        Levels = [Levels[0] with { Name = "only", Hidden = Levels.Sum(l => l.Hidden) }],
        ProjectionLevel = 0,
    };

    /// <summary>The levels that have MLPs, the fastest first.</summary>
    internal IEnumerable<LevelConfiguration> LevelsOfContinuum => Levels.Where(l => l.Hidden > 0);

    /// <summary>Checks every setting.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range; the message names it.</exception>
    public void Validate()
    {
        if (!Enum.IsDefined(Mixer))
            throw new ArgumentException($"{nameof(Mixer)} is {Mixer}, expected one of {string.Join(", ", Enum.GetNames<TokenMixer>())}.");
        AtLeastOne(Vocabulary, nameof(Vocabulary));
        AtLeastOne(Dim, nameof(Dim));
        AtLeastOne(Blocks, nameof(Blocks));
        AtLeastOne(Heads, nameof(Heads));
        if (Dim % Heads != 0)
            throw new ArgumentException($"{nameof(Dim)} is {Dim}, expected a multiple of {nameof(Heads)} = {Heads}.");
        if (MemoryChunk is < 1 or > ScanSettings.MaxChunk)
            throw new ArgumentException($"{nameof(MemoryChunk)} is {MemoryChunk}, expected 1 to {ScanSettings.MaxChunk}.");
        SelfModifying.Validate();
        AtLeastOne(AttentionSegment, nameof(AttentionSegment));
        if (PersistentTokens < 0)
            throw new ArgumentException($"{nameof(PersistentTokens)} is {PersistentTokens}, expected at least 0.");
        Finite(EtaScale, nameof(EtaScale));
        Finite(EtaBias, nameof(EtaBias));
        Finite(AlphaBias, nameof(AlphaBias));
        if (!Enum.IsDefined(Objective))
            throw new ArgumentException($"{nameof(Objective)} is {Objective}, expected one of " +
                $"{string.Join(", ", Enum.GetNames<MemoryObjective>())}.");
        if (WarmupCommits < 0)
            throw new ArgumentException($"{nameof(WarmupCommits)} is {WarmupCommits}, expected at least 0.");
        if (!(ClipNorm > 0))
            throw new ArgumentException($"{nameof(ClipNorm)} is {ClipNorm}, expected above 0.");
        Finite(WeightDecay, nameof(WeightDecay));
        if (!(Beta2 >= 0 && Beta2 < 1))
            throw new ArgumentException(Readable.Text($"{nameof(Beta2)} is {Beta2}, expected at least 0 and below 1."));
        if (!(RotaryBase >= 0 && float.IsFinite(RotaryBase)))
            throw new ArgumentException($"{nameof(RotaryBase)} is {RotaryBase}, expected a finite number of at least 0.");
        if (ContextLength < 0)
            throw new ArgumentException($"{nameof(ContextLength)} is {ContextLength}, expected at least 0.");
        if (Levels.Count == 0)
            throw new ArgumentException($"{nameof(Levels)} is empty, expected at least one level.");
        if (ProjectionLevel < 0 || ProjectionLevel >= Levels.Count)
            throw new ArgumentException($"{nameof(ProjectionLevel)} is {ProjectionLevel}, expected 0 to {Levels.Count - 1}.");
        for (int i = 0; i < Levels.Count; i++)
        {
            // The projections can do without an MLP, the continuum not without any.
            Levels[i].Validate(Readable.Text($"Levels[{i}]"), mayBeEmpty: i == ProjectionLevel && Levels.Count > 1);
            if (i > 0 && Levels[i].Chunk % Levels[i - 1].Chunk != 0)
                throw new ArgumentException($"Levels[{i}].Chunk is {Levels[i].Chunk}, expected a multiple of the faster level's " +
                    $"{Levels[i - 1].Chunk}.");
        }

        Continuum.Validate(Dim);
    }

    private static void Finite(float value, string name)
    {
        if (!float.IsFinite(value))
            throw new ArgumentException($"{name} is {value}, expected a finite number.");
    }

    private static void AtLeastOne(int value, string name)
    {
        if (value < 1)
            throw new ArgumentException($"{name} is {value}, expected at least 1.");
    }
}
