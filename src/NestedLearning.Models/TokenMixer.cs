namespace NestedLearning.Models;

/// <summary>What passes information from token to token in a model's blocks.</summary>
public enum TokenMixer
{
    /// <summary>Memories that make their own keys, values, rates and targets and write themselves (NL 83–93).</summary>
    SelfModifyingTitans,
}
