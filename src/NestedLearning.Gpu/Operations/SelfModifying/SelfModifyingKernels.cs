using ILGPU;
using ILGPU.Algorithms;

namespace NestedLearning.Gpu.Kernels;

/// <summary>
/// What a self-modifying memory makes of its tokens, and the gradients of it. The rest is the scan's, with θ = η, ε = η or 2η. Names as
/// in native/kernels/self_modifying/README.md.
/// </summary>
internal struct SelfModifyingArguments
{
    public Problems Problems;

    /// <summary>x S_k and x S_v [n, 2D], of which the second half becomes v; x S_η and x S_α [n, 2], biases not yet added.</summary>
    public Matrix Projections, GateInputs;

    public Matrix K;

    /// <summary>The scan's gates: θ is η, ε is η or, for the exact L2 gradient, 2η.</summary>
    public Matrix Erase, Theta, Alpha;

    /// <summary>1 / √(Σx² + ε²) of k and of v [n, 2].</summary>
    public Matrix InverseNorms;

    /// <summary>dk [n, D]; y S_cᵀ [n, D]; dε, dθ and α dα [n].</summary>
    public Matrix DK, Written, DErase, DTheta, DLogAlpha;

    /// <summary>Gradients of the projections [n, 2D] and of the gates' inputs [n, 2].</summary>
    public Matrix DProjections, DGateInputs;

    public int Dim;
    public SelfModifyingRule Rule;
}

/// <summary>What of the settings the kernels take, of whole chunks and of a few tokens.</summary>
internal struct SelfModifyingRule(SelfModifyingSettings settings)
{
    public int NormalizesValues = settings.NormalizeValues ? 1 : 0, EraseFactor = settings.EraseFactor;
    public float EtaScale = settings.EtaScale, EtaBias = settings.EtaBias, AlphaBias = settings.AlphaBias;

    /// <summary>v / (x S_v).</summary>
    public readonly float ValueFactor(float inverseNorm) => NormalizesValues != 0 ? inverseNorm : 1;
}

internal static class SelfModifyingKernels
{
    // k = norm(x S_k)   v = x S_v or its norm   η = softplus(x S_η + b_η) s_η   α = sigmoid(x S_α + b_α)
    public static void Project(SelfModifyingArguments a)
    {
        for (long work = Groups.First; work < (long)a.Problems.Count * a.Problems.Length; work += Groups.Stride)
        {
            Problem p = a.Problems.At((int)(work / a.Problems.Length));
            int t = (int)(work % a.Problems.Length);
            if (t >= a.Problems.LengthOf(p))
                continue;
            float key = InverseNorm(a, p, t, 0);
            ChunkKernels.At(a.InverseNorms, p, t, 0) = key;
            for (int d = 0; d < a.Dim; d++)
                ChunkKernels.At(a.K, p, t, d) = ChunkKernels.At(a.Projections, p, t, d) * key;
            if (a.Rule.NormalizesValues != 0)
            {
                float value = InverseNorm(a, p, t, a.Dim);
                ChunkKernels.At(a.InverseNorms, p, t, 1) = value;
                for (int d = 0; d < a.Dim; d++)
                    ChunkKernels.At(a.Projections, p, t, a.Dim + d) *= value;
            }

            float eta = Functions.Flush(Functions.Softplus(ChunkKernels.At(a.GateInputs, p, t, 0) + a.Rule.EtaBias) * a.Rule.EtaScale);
            ChunkKernels.At(a.Erase, p, t) = a.Rule.EraseFactor * eta;
            ChunkKernels.At(a.Theta, p, t) = eta;
            ChunkKernels.At(a.Alpha, p, t) = Functions.Sigmoid(ChunkKernels.At(a.GateInputs, p, t, 1) + a.Rule.AlphaBias);
        }
    }

    // dx̂ = r (dk − ⟨dk, k⟩ k)   dx̂_v = dv, or r_v (dv − ⟨dv, v⟩ v), dv = η y S_cᵀ
    // dz_η = dη s_η sigmoid(z_η)   dz_α = dα α sigmoid(−z_α)
    public static void ProjectBackward(SelfModifyingArguments a)
    {
        for (long work = Groups.First; work < (long)a.Problems.Count * a.Problems.Length; work += Groups.Stride)
        {
            Problem p = a.Problems.At((int)(work / a.Problems.Length));
            int t = (int)(work % a.Problems.Length);
            if (t >= a.Problems.LengthOf(p))
                continue;
            float key = ChunkKernels.At(a.InverseNorms, p, t, 0), eta = ChunkKernels.At(a.Theta, p, t), along = 0, valueAlong = 0,
                value = 1;
            for (int d = 0; d < a.Dim; d++)
                along += ChunkKernels.At(a.DK, p, t, d) * ChunkKernels.At(a.K, p, t, d);
            if (a.Rule.NormalizesValues != 0)
            {
                value = ChunkKernels.At(a.InverseNorms, p, t, 1);
                for (int d = 0; d < a.Dim; d++)
                    valueAlong += eta * ChunkKernels.At(a.Written, p, t, d) * ChunkKernels.At(a.Projections, p, t, a.Dim + d);
            }

            for (int d = 0; d < a.Dim; d++)
            {
                ChunkKernels.At(a.DProjections, p, t, d) =
                    Functions.Flush(key * (ChunkKernels.At(a.DK, p, t, d) - along * ChunkKernels.At(a.K, p, t, d)));
                float dv = eta * ChunkKernels.At(a.Written, p, t, d);
                if (a.Rule.NormalizesValues != 0)
                    dv = value * (dv - valueAlong * ChunkKernels.At(a.Projections, p, t, a.Dim + d));
                ChunkKernels.At(a.DProjections, p, t, a.Dim + d) = Functions.Flush(dv);
            }

            float dEta = a.Rule.EraseFactor * ChunkKernels.At(a.DErase, p, t) + ChunkKernels.At(a.DTheta, p, t);
            ChunkKernels.At(a.DGateInputs, p, t, 0) = dEta * a.Rule.EtaScale
                * Functions.Sigmoid(ChunkKernels.At(a.GateInputs, p, t, 0) + a.Rule.EtaBias);
            ChunkKernels.At(a.DGateInputs, p, t, 1) =
                ChunkKernels.At(a.DLogAlpha, p, t) * Functions.Sigmoid(-(ChunkKernels.At(a.GateInputs, p, t, 1) + a.Rule.AlphaBias));
        }
    }

    private static float InverseNorm(SelfModifyingArguments a, Problem p, int t, int first)
    {
        float sum = SelfModifyingSettings.NormEpsilon * SelfModifyingSettings.NormEpsilon;
        for (int d = 0; d < a.Dim; d++)
            sum += ChunkKernels.At(a.Projections, p, t, first + d) * ChunkKernels.At(a.Projections, p, t, first + d);
        return 1 / XMath.Sqrt(sum);
    }
}
