namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>
    /// Adam's step for one weight [M, N] whose gradient is xᵀ dy, with x [.., M] and dy [.., N], plus
    /// <paramref name="accumulated"/> where that is given. The gradient is written nowhere.
    /// </summary>
    public abstract void GemmAdamCommit(Tensor x, Tensor dy, Tensor? accumulated, Tensor w, Tensor m, Tensor v, AdamSettings settings);
}
