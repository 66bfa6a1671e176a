using ILGPU;
using ILGPU.Algorithms;

namespace NestedLearning.Gpu.Kernels;

/// <summary>
/// What a deep memory's tokens write, and the gradients of it. The rest is the scan's, for each of both layers. Names as in
/// native/kernels/deep_memory/README.md.
/// </summary>
internal struct DeepMemoryArguments
{
    public Problems Problems;

    /// <summary>k [n, D] and θ [n], which is 1 where it is not given.</summary>
    public Matrix K, Theta;

    /// <summary>z, h and e W1_cᵀ [n, N], and e [n, D].</summary>
    public Matrix Z, H, Back, Error;

    /// <summary>ĥ [n, N] and k̂ [n, D], r₁ and r₂ [n, 2].</summary>
    public Matrix Keys1, Keys2, Norms;

    /// <summary>u of W1 [n, D] and of W2 [n, N].</summary>
    public Matrix Writes1, Writes2;

    /// <summary>What layer 1's activation reads, and what comes out of it [n, N].</summary>
    public Matrix ReadInput, Activated;

    /// <summary>Gradients of u, Y₁ [n, D] and Y₂ [n, N], and of ĥ and k̂.</summary>
    public Matrix Y1, Y2, DKeys1, DKeys2;

    /// <summary>de [n, D], d(e W1_cᵀ) and dz [n, N], without what comes through products.</summary>
    public Matrix DError, DBack, DZ;

    /// <summary>Results, where they are wanted: dk [n, D], without what comes through products, and dθ [n].</summary>
    public Matrix DK, DTheta;

    /// <summary>Layer 1's share of the gates' gradients, to be added to layer 2's, where they are wanted.</summary>
    public Matrix Share1LogAlpha, Share1Erase, Share1Mu, DLogAlpha, DErase, DMu;

    public int Dim, Hidden;
}

internal static class DeepMemoryKernels
{
    // r = √(‖x‖² + ε²) and x̂ = x / r of h and k;  u₁ = −θ r₁ e;  u₂ = −θ r₂ (e W1_cᵀ) ∘ φ'(z);  a group a token
    public static void Writes(DeepMemoryArguments a)
    {
        ArrayView<float> shared = SharedMemory.Allocate<float>(Groups.Threads);
        int length = a.Problems.Length;
        for (int work = Grid.IdxX; work < a.Problems.Count * length; work += Grid.DimX)
        {
            Problem p = a.Problems.At(work / length);
            int t = work % length;
            bool isToken = t < a.Problems.LengthOf(p);
            int dim = isToken ? a.Dim : 0, hidden = isToken ? a.Hidden : 0;
            float r1 = Norm(shared, a.H, p, t, hidden), r2 = Norm(shared, a.K, p, t, dim), theta = isToken ? Theta(a, p, t) : 0;
            if (isToken && Group.IdxX == 0)
            {
                ChunkKernels.At(a.Norms, p, t, 0) = r1;
                ChunkKernels.At(a.Norms, p, t, 1) = r2;
            }

            for (int d = Group.IdxX; d < dim; d += Group.DimX)
            {
                ChunkKernels.At(a.Keys2, p, t, d) = ChunkKernels.At(a.K, p, t, d) / r2;
                ChunkKernels.At(a.Writes1, p, t, d) = -theta * r1 * ChunkKernels.At(a.Error, p, t, d);
            }

            for (int d = Group.IdxX; d < hidden; d += Group.DimX)
            {
                ChunkKernels.At(a.Keys1, p, t, d) = ChunkKernels.At(a.H, p, t, d) / r1;
                ChunkKernels.At(a.Writes2, p, t, d) =
                    -theta * r2 * ChunkKernels.At(a.Back, p, t, d) * Functions.GeluDerivative(ChunkKernels.At(a.Z, p, t, d));
            }
        }
    }

    // Back through that, with s = (e W1_cᵀ) ∘ φ'(z), to all that needs no product; a group a token.
    //
    //     dθ = −r₁ ⟨y₁, e⟩ − r₂ ⟨y₂, s⟩     de = −θ r₁ y₁     ds = −θ r₂ y₂     db = ds ∘ φ'(z)     dr₁ = −θ ⟨y₁, e⟩     dr₂ = −θ ⟨y₂, s⟩
    //     dh = dĥ / r₁ + (dr₁ − ⟨dĥ, ĥ⟩ / r₁) ĥ     dk = dk̂ / r₂ + (dr₂ − ⟨dk̂, k̂⟩ / r₂) k̂     dz = ds ∘ b ∘ φ''(z) + dh ∘ φ'(z)
    public static void WritesBackward(DeepMemoryArguments a)
    {
        ArrayView<float> shared = SharedMemory.Allocate<float>(Groups.Threads);
        int length = a.Problems.Length;
        for (int work = Grid.IdxX; work < a.Problems.Count * length; work += Grid.DimX)
        {
            Problem p = a.Problems.At(work / length);
            int t = work % length;
            bool isToken = t < a.Problems.LengthOf(p);
            int dim = isToken ? a.Dim : 0, hidden = isToken ? a.Hidden : 0;
            float error = 0, step = 0, key1 = 0, key2 = 0;
            for (int d = Group.IdxX; d < dim; d += Group.DimX)
            {
                error += ChunkKernels.At(a.Y1, p, t, d) * ChunkKernels.At(a.Error, p, t, d);
                key2 += ChunkKernels.At(a.DKeys2, p, t, d) * ChunkKernels.At(a.Keys2, p, t, d);
            }

            for (int d = Group.IdxX; d < hidden; d += Group.DimX)
            {
                step += ChunkKernels.At(a.Y2, p, t, d) * ChunkKernels.At(a.Back, p, t, d)
                    * Functions.GeluDerivative(ChunkKernels.At(a.Z, p, t, d));
                key1 += ChunkKernels.At(a.DKeys1, p, t, d) * ChunkKernels.At(a.Keys1, p, t, d);
            }

            error = Groups.Sum(shared, error);
            step = Groups.Sum(shared, step);
            key1 = Groups.Sum(shared, key1);
            key2 = Groups.Sum(shared, key2);
            float theta = 0, r1 = 1, r2 = 1;
            if (isToken)
            {
                theta = Theta(a, p, t);
                r1 = ChunkKernels.At(a.Norms, p, t, 0);
                r2 = ChunkKernels.At(a.Norms, p, t, 1);
            }

            float along1 = -theta * error - key1 / r1, along2 = -theta * step - key2 / r2;
            for (int d = Group.IdxX; d < dim; d += Group.DimX)
            {
                ChunkKernels.At(a.DError, p, t, d) = -theta * r1 * ChunkKernels.At(a.Y1, p, t, d);
                if (a.DK.Given)
                    ChunkKernels.At(a.DK, p, t, d) =
                        Functions.Flush(ChunkKernels.At(a.DKeys2, p, t, d) / r2 + along2 * ChunkKernels.At(a.Keys2, p, t, d));
            }

            for (int d = Group.IdxX; d < hidden; d += Group.DimX)
            {
                float z = ChunkKernels.At(a.Z, p, t, d), slope = Functions.GeluDerivative(z),
                    dStep = -theta * r2 * ChunkKernels.At(a.Y2, p, t, d);
                float dh = ChunkKernels.At(a.DKeys1, p, t, d) / r1 + along1 * ChunkKernels.At(a.Keys1, p, t, d);
                ChunkKernels.At(a.DBack, p, t, d) = Functions.Flush(dStep * slope);
                ChunkKernels.At(a.DZ, p, t, d) =
                    Functions.Flush(dStep * ChunkKernels.At(a.Back, p, t, d) * Functions.GeluSecondDerivative(z) + dh * slope);
            }

            if (isToken && Group.IdxX == 0)
            {
                if (a.DTheta.Given)
                    ChunkKernels.At(a.DTheta, p, t) = Functions.Flush(-(r1 * error + r2 * step));
                if (a.DLogAlpha.Given)
                    ChunkKernels.At(a.DLogAlpha, p, t) =
                        Functions.Flush(ChunkKernels.At(a.DLogAlpha, p, t) + ChunkKernels.At(a.Share1LogAlpha, p, t));
                if (a.DErase.Given)
                    ChunkKernels.At(a.DErase, p, t) =
                        Functions.Flush(ChunkKernels.At(a.DErase, p, t) + ChunkKernels.At(a.Share1Erase, p, t));
                if (a.DMu.Given)
                    ChunkKernels.At(a.DMu, p, t) = Functions.Flush(ChunkKernels.At(a.DMu, p, t) + ChunkKernels.At(a.Share1Mu, p, t));
            }
        }
    }

    // activated = φ(read input)
    public static void Activate(DeepMemoryArguments a)
    {
        long size = (long)a.Problems.Length * a.Hidden;
        for (long work = Groups.First; work < a.Problems.Count * size; work += Groups.Stride)
        {
            Problem p = a.Problems.At((int)(work / size));
            int t = (int)(work % size / a.Hidden), d = (int)(work % a.Hidden);
            if (t < a.Problems.LengthOf(p))
                ChunkKernels.At(a.Activated, p, t, d) = Functions.Gelu(ChunkKernels.At(a.ReadInput, p, t, d));
        }
    }

    // activated ← activated ∘ φ'(read input): from the gradient of what came out to that of what was read
    public static void ActivateBackward(DeepMemoryArguments a)
    {
        long size = (long)a.Problems.Length * a.Hidden;
        for (long work = Groups.First; work < a.Problems.Count * size; work += Groups.Stride)
        {
            Problem p = a.Problems.At((int)(work / size));
            int t = (int)(work % size / a.Hidden), d = (int)(work % a.Hidden);
            if (t < a.Problems.LengthOf(p))
                ChunkKernels.At(a.Activated, p, t, d) =
                    Functions.Flush(ChunkKernels.At(a.Activated, p, t, d)
                    * Functions.GeluDerivative(ChunkKernels.At(a.ReadInput, p, t, d)));
        }
    }

    private static float Theta(DeepMemoryArguments a, Problem p, int t) => a.Theta.Given ? ChunkKernels.At(a.Theta, p, t) : 1;

    private static float Norm(ArrayView<float> shared, Matrix x, Problem p, int t, int count)
    {
        float sum = 0;
        for (int d = Group.IdxX; d < count; d += Group.DimX)
            sum += ChunkKernels.At(x, p, t, d) * ChunkKernels.At(x, p, t, d);
        return XMath.Sqrt(Groups.Sum(shared, sum) + DeepMemorySettings.NormEpsilon * DeepMemorySettings.NormEpsilon);
    }
}
