using NestedLearning.Operations;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    // A chain of steps with a few numbers each: on the host, where one step takes less time than a launch.
    public override void Mixture(Tensor logP, Tensor w, float share, Tensor? o)
    {
        float[] weights = w.ToArray(), mixed = new float[o?.Count ?? 0];
        MixtureChain.Run(logP.ToArray(), weights, share, mixed);
        w.CopyFrom(weights);
        o?.CopyFrom(mixed);
    }
}
