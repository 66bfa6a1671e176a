namespace NestedLearning.Models;

/// <summary>One level of a model: how often it commits, how fast it learns, and the memory block it adds to the continuum.</summary>
/// <param name="Name">What it is called in timelines.</param>
/// <param name="Chunk">C: tokens from one commit to the next.</param>
/// <param name="LearningRate">η of its update rule.</param>
/// <param name="Hidden">The hidden width of its residual MLP in every block.</param>
public sealed record LevelConfiguration(string Name, int Chunk, float LearningRate, int Hidden)
{
    /// <summary>The update rule; null is the model's AdamW.</summary>
    public Optimizer? Optimizer { get; init; }
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

    /// <summary>Tokens for which the fast memories stay frozen as the source of keys, rates and targets.</summary>
    public int MemoryChunk { get; init; } = 16;

    /// <summary>The objective the fast memories descend.</summary>
    public MemoryObjective Objective { get; init; } = MemoryObjective.L2;

    /// <summary>
    /// s_η in η = softplus(M_η(x) + b_η) s_η. A chunk's tokens all descend from the memory at its start, so the rates of
    /// a chunk together must stay well below 1: at 0.2 and chunks of 16 streams diverged.
    /// </summary>
    public float EtaScale { get; init; } = 0.05f;

    /// <summary>b_η.</summary>
    public float EtaBias { get; init; }

    /// <summary>b_α in α = sigmoid(M_α(x) + b_α).</summary>
    public float AlphaBias { get; init; } = 7;

    /// <summary>
    /// Tokens after which the fast memories return to their learned start (spec section 5); 0 is never. In a context's
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
    /// the fastest: everything else is built on them.
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

    /// <summary>
    /// The baseline of the same size: one level (k = 1) at the fastest level's frequency, whose MLPs are as wide as all
    /// levels' together.
    /// </summary>
    public ModelConfiguration WithOneLevel() => this with
    {
        Levels = [Levels[0] with { Name = "only", Hidden = Levels.Sum(l => l.Hidden) }],
        ProjectionLevel = 0,
    };

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
        if (ContextLength < 0)
            throw new ArgumentException($"{nameof(ContextLength)} is {ContextLength}, expected at least 0.");
        if (Levels.Count == 0)
            throw new ArgumentException($"{nameof(Levels)} is empty, expected at least one level.");
        if (ProjectionLevel < 0 || ProjectionLevel >= Levels.Count)
            throw new ArgumentException($"{nameof(ProjectionLevel)} is {ProjectionLevel}, expected 0 to {Levels.Count - 1}.");
        for (int i = 0; i < Levels.Count; i++)
        {
            AtLeastOne(Levels[i].Chunk, $"Levels[{i}].Chunk");
            AtLeastOne(Levels[i].Hidden, $"Levels[{i}].Hidden");
            if (i > 0 && Levels[i].Chunk % Levels[i - 1].Chunk != 0)
                throw new ArgumentException($"Levels[{i}].Chunk is {Levels[i].Chunk}, expected a multiple of the faster level's {Levels[i - 1].Chunk}.");
        }

        Continuum.Validate(Dim);
    }

    private static void AtLeastOne(int value, string name)
    {
        if (value < 1)
            throw new ArgumentException($"{name} is {value}, expected at least 1.");
    }
}
