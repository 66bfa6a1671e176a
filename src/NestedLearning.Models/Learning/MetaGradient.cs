namespace NestedLearning.Models.Learning;

/// <summary>How the gradient of the queries' loss reaches the initial states of inner levels (docs/specification.md, section 5).</summary>
public enum MetaGradient
{
    /// <summary>Through every inner update: dL/dS₀, the exact gradient of the outer loss.</summary>
    SecondOrder,

    /// <summary>
    /// Around the inner updates: the gradient at the adapted memory is the start's as it is, dL/dS₀ := dL/dS_T, and whatever
    /// else made the inner updates gets none from them. Cheaper: the support is not recorded.
    /// </summary>
    FirstOrder,
}
