namespace NestedLearning.Operations;

/// <summary>
/// The two lower triangular matrices of a chunk, [n, n] over (token t, earlier write i), and their gradients. Rows count
/// tokens from 0 here, so that row t of an erase matrix uses G_t of the coefficients, the state before token t + 1 of the
/// equations.
/// </summary>
internal static unsafe class ChunkTriangles
{
    /// <summary>The row of the coefficients a, b and G that token <paramref name="token"/> (from 0) reads with.</summary>
    public static int ReadRow(ScanRead read, int token) => read switch
    {
        ScanRead.After => token + 1,
        ScanRead.Before => token,
        _ => 0,
    };

    /// <summary>How many writes a token (from 0) sees when it reads.</summary>
    public static int WritesSeen(ScanRead read, int token) => ReadRow(read, token);

    /// <summary>N_ti = −ε_t G_{t−1,i} ⟨k_t, k_i⟩ for i &lt; t, so that W = U + N W.</summary>
    public static void Erase(in ChunkCoefficients coefficients, float* erase, MatrixView keyProducts, int n, MatrixView result)
    {
        for (int t = 0; t < n; t++)
        {
            float* g = coefficients.G.Row(t), products = keyProducts.Row(t), row = result.Row(t);
            for (int i = 0; i < t; i++)
                row[i] = -erase[t] * g[i] * products[i];
        }
    }

    /// <summary>
    /// From ⟨dw_t, w_i⟩: key products' gradient (into result, strictly lower), dG (+=), and dε_t −= its part through N.
    /// </summary>
    public static void EraseBackward(in ChunkCoefficients coefficients, float* erase, MatrixView keyProducts, MatrixView writeProducts,
        int n, MatrixView result, MatrixView dG, float* dErase)
    {
        for (int t = 0; t < n; t++)
        {
            float* g = coefficients.G.Row(t), products = keyProducts.Row(t), writes = writeProducts.Row(t);
            float* row = result.Row(t), dg = dG.Row(t);
            float sum = 0;
            for (int i = 0; i < t; i++)
            {
                float dProduct = writes[i] * products[i];
                sum += g[i] * dProduct;
                dg[i] -= erase[t] * dProduct;
                row[i] = -erase[t] * g[i] * writes[i];
            }

            dErase[t] -= sum;
        }
    }

    /// <summary>M_ti = G_ti ⟨q_t, k_i⟩ over the writes that a read sees, so that O = .. + M W.</summary>
    public static void Read(in ChunkCoefficients coefficients, ScanRead read, MatrixView queryProducts, int n, MatrixView result)
    {
        for (int t = 0; t < n; t++)
        {
            float* g = coefficients.G.Row(ReadRow(read, t)), products = queryProducts.Row(t), row = result.Row(t);
            int seen = WritesSeen(read, t);
            for (int i = 0; i < seen; i++)
                row[i] = g[i] * products[i];
        }
    }

    /// <summary>From ⟨do_t, w_i⟩: query products' gradient (into result) and dG (+=).</summary>
    public static void ReadBackward(in ChunkCoefficients coefficients, ScanRead read, MatrixView queryProducts, MatrixView writeProducts,
        int n, MatrixView result, MatrixView dG)
    {
        for (int t = 0; t < n; t++)
        {
            int used = ReadRow(read, t);
            float* g = coefficients.G.Row(used), products = queryProducts.Row(t), writes = writeProducts.Row(t);
            float* row = result.Row(t), dg = dG.Row(used);
            int seen = WritesSeen(read, t);
            for (int i = 0; i < seen; i++)
            {
                dg[i] += products[i] * writes[i];
                row[i] = g[i] * writes[i];
            }
        }
    }
}
