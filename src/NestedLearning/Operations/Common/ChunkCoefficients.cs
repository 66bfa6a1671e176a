using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>
/// The scalar coefficients of one chunk (docs/specification.md, section 1), by recurrence over its tokens, so that no ratio of decays is
/// ever formed:
/// <code>
/// c_t = μ_t c_{t−1}    a_t = α_t a_{t−1}    b_t = α_t b_{t−1} + c_t    X_t = μ_t X_{t−1} + e_t    G_t = α_t G_{t−1} + X_t
/// </code>
/// Row t of G and X holds elements i &lt; t (token i's write, counted from 0), the rest is undefined. Without momentum
/// G_t = α_t G_{t−1} + e_t and b, c, X do not exist.
/// </summary>
internal readonly unsafe struct ChunkCoefficients(ref ScratchArena arena, int chunk, bool momentum)
{
    /// <summary>Inputs, one for each token: index t − 1 holds token t's.</summary>
    public readonly float* Alpha = arena.Vector(chunk);
    public readonly float* Mu = momentum ? arena.Vector(chunk) : null;

    /// <summary>n + 1 values each, index 0 being the chunk's start.</summary>
    public readonly float* A = arena.Vector(chunk + 1);
    public readonly float* B = momentum ? arena.Vector(chunk + 1) : null;
    public readonly float* C = momentum ? arena.Vector(chunk + 1) : null;

    /// <summary>[n + 1, n] each.</summary>
    public readonly MatrixView G = arena.Matrix(chunk + 1, chunk);
    public readonly MatrixView X = momentum ? arena.Matrix(chunk + 1, chunk) : default;

    public bool HasMomentum => Mu != null;

    /// <summary>Fills a, b, c, G and X for <paramref name="n"/> tokens from α and μ.</summary>
    public void Compute(int n)
    {
        A[0] = 1;
        Subnormals.Flush(Span(Alpha, n));
        if (HasMomentum)
        {
            B[0] = 0;
            C[0] = 1;
            Subnormals.Flush(Span(Mu, n));
        }

        for (int t = 1; t <= n; t++)
        {
            float alpha = Alpha[t - 1];
            float* g = G.Row(t), gPrevious = G.Row(t - 1);
            A[t] = Subnormals.Flush(alpha * A[t - 1]);
            if (!HasMomentum)
            {
                TensorPrimitives.Multiply(Span(gPrevious, t - 1), alpha, Span(g, t - 1));
                Subnormals.Flush(Span(g, t - 1));
                g[t - 1] = 1;
                continue;
            }

            float mu = Mu[t - 1];
            float* x = X.Row(t), xPrevious = X.Row(t - 1);
            C[t] = Subnormals.Flush(mu * C[t - 1]);
            B[t] = Subnormals.Flush(alpha * B[t - 1] + C[t]);
            TensorPrimitives.Multiply(Span(xPrevious, t - 1), mu, Span(x, t - 1));
            Subnormals.Flush(Span(x, t - 1));
            TensorPrimitives.MultiplyAdd(Span(gPrevious, t - 1), alpha, Span(x, t - 1), Span(g, t - 1));
            Subnormals.Flush(Span(g, t - 1));
            x[t - 1] = 1;
            g[t - 1] = 1;
        }
    }

    /// <summary>What is left of the states after n tokens, without their writes: S ← a_n S + b_n P and P ← c_n P.</summary>
    public void Decay(int n, MatrixView s, MatrixView p, int rows, int columns)
    {
        Scale(s, A[n], rows, columns);
        if (!HasMomentum)
            return;
        AddScaled(p, B[n], rows, columns, s);
        Scale(p, C[n], rows, columns);
    }

    /// <summary>The gradients of <see cref="Decay"/>: dP ← c_n dP + b_n dS and dS ← a_n dS.</summary>
    public void DecayBackward(int n, MatrixView dS, MatrixView dP, int rows, int columns)
    {
        if (HasMomentum)
        {
            Scale(dP, C[n], rows, columns);
            AddScaled(dS, B[n], rows, columns, dP);
        }

        Scale(dS, A[n], rows, columns);
    }
}

/// <summary>
/// Gradients of a chunk's coefficients, gathered from everything that used them and taken back through their recurrences
/// to α and μ. Nothing is divided by α or μ, so both may be 0.
/// </summary>
internal readonly unsafe struct ChunkCoefficientGradients(ref ScratchArena arena, int chunk, bool momentum)
{
    public readonly float* Alpha = arena.Vector(chunk);
    public readonly float* Mu = momentum ? arena.Vector(chunk) : null;
    public readonly float* A = arena.Vector(chunk + 1);
    public readonly float* B = momentum ? arena.Vector(chunk + 1) : null;
    public readonly float* C = momentum ? arena.Vector(chunk + 1) : null;
    public readonly MatrixView G = arena.Matrix(chunk + 1, chunk);
    public readonly MatrixView X = momentum ? arena.Matrix(chunk + 1, chunk) : default;

    /// <summary>Zeroes the gradients of a, b, c, G and X.</summary>
    public void Clear(int n)
    {
        Span(A, n + 1).Clear();
        SmallProducts.Clear(G, n + 1, n);
        if (Mu == null)
            return;
        Span(B, n + 1).Clear();
        Span(C, n + 1).Clear();
        SmallProducts.Clear(X, n + 1, n);
    }

    /// <summary>Fills dα and dμ; uses up the other gradients.</summary>
    public void Propagate(in ChunkCoefficients coefficients, int n)
    {
        for (int t = n; t >= 1; t--)
        {
            float alpha = coefficients.Alpha[t - 1];
            int older = t - 1;
            float dAlpha = A[t] * coefficients.A[t - 1] + Dot(G.Row(t), coefficients.G.Row(t - 1), older);
            A[t - 1] += alpha * A[t];
            AddScaled(G.Row(t), alpha, older, G.Row(t - 1));
            if (Mu != null)
            {
                float mu = coefficients.Mu[t - 1];
                dAlpha += B[t] * coefficients.B[t - 1];
                B[t - 1] += alpha * B[t];
                C[t] += B[t];
                AddScaled(G.Row(t), 1, t, X.Row(t));
                Mu[t - 1] = C[t] * coefficients.C[t - 1] + Dot(X.Row(t), coefficients.X.Row(t - 1), older);
                C[t - 1] += mu * C[t];
                AddScaled(X.Row(t), mu, older, X.Row(t - 1));
            }

            Alpha[t - 1] = dAlpha;
        }
    }
}
