namespace NestedLearning.Models;

/// <summary>What passes information from token to token in a model's blocks; docs/models.md has the equations.</summary>
public enum TokenMixer
{
    /// <summary>Memories that make their own keys, values, rates and targets and write themselves (NL 83–93).</summary>
    SelfModifyingTitans,

    /// <summary>Causal softmax attention over the whole context.</summary>
    Attention,

    /// <summary>Titans' long-term memory alone: gradient descent with momentum and forgetting, token by token (Titans 8–14).</summary>
    Titans,

    /// <summary>
    /// Titans' memory as context: attention over persistent tokens, what the memory answers, and the segment (Titans 4.1).
    /// </summary>
    TitansAsContext,

    /// <summary>Titans' memory as gate: attention to the last tokens, gated by the memory (Titans 4.2).</summary>
    TitansAsGate,

    /// <summary>Titans' memory as layer: attention to the last tokens over what the memory answers (Titans 4.3).</summary>
    TitansAsLayer,

    /// <summary>A memory written by the delta rule (NL 65).</summary>
    DeltaNet,

    /// <summary>A memory written by the Hebbian rule (NL 14–18).</summary>
    LinearAttention,
}
