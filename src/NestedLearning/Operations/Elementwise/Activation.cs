namespace NestedLearning.Operations;

/// <summary>An element-wise function.</summary>
public enum Activation
{
    /// <summary>1 / (1 + e^−x).</summary>
    Sigmoid = Native.Activation.Sigmoid,

    /// <summary>log(1 + e^x).</summary>
    Softplus = Native.Activation.Softplus,

    /// <summary>log sigmoid(x) = −softplus(−x): a decay in the form the scan takes it.</summary>
    LogSigmoid = Native.Activation.LogSigmoid,

    /// <summary>x Φ(x), with erf.</summary>
    Gelu = Native.Activation.Gelu,
}
