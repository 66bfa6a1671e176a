using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>
/// A deep memory's backward pass over one head, chunk by chunk from the last, each computed again from its saved state. The
/// derivation stands in native/kernels/deep_memory/README.md; its names are used here.
/// </summary>
internal readonly unsafe struct DeepMemoryBackwardPiece(
    DeepMemoryInputs inputs, DeepMemorySettings settings, DeepMemorySaved saved, DeepMemoryOutputGradients upstream,
    DeepMemoryGradients gradients) : IPieceAction
{
    public void Invoke(int piece)
    {
        var measure = new ScratchArena(null);
        _ = new Workspace(ref measure, inputs, settings, piece);
        var arena = new ScratchArena(Scratch.Take(measure.Length));
        var work = new Workspace(ref arena, inputs, settings, piece);

        int dim = inputs.Dim, hidden = inputs.Hidden;
        DeepMemoryWeights dState = work.DState, dFrozen = work.DFrozen;
        DeepMemoryWeights.Of(piece, upstream.W1, upstream.W2, upstream.P1, upstream.P2).CopyTo(dState, dim, hidden);
        DeepMemoryWeights.Of(piece, upstream.ChunkStart1, upstream.ChunkStart2).CopyTo(dFrozen, dim, hidden);
        ChunkPlan plan = settings.Plan(inputs.Time);
        if (plan.NextPhase == 0)
            JoinFrozen(ref work);
        for (int index = plan.Count - 1; index >= 0; index--)
        {
            bool beganBefore = plan.BeganBefore(index);
            var state = DeepMemoryWeights.Of(piece, saved.W1, saved.W2, saved.P1, saved.P2, index);
            DeepMemoryWeights frozen = beganBefore ? DeepMemoryWeights.Of(piece, inputs.ChunkStart1, inputs.ChunkStart2) : state;
            work.Chunk.Load(plan.Start(index), plan.Length(index), frozen, state);
            ChunkBackward(ref work, frozen, state, piece);
            if (!beganBefore)
                JoinFrozen(ref work);
        }

        dState.Flush(dim, hidden);
        dFrozen.Flush(dim, hidden);
        dState.CopyTo(DeepMemoryWeights.Of(piece, gradients.W1, gradients.W2, gradients.P1, gradients.P2), dim, hidden);
        dFrozen.CopyTo(DeepMemoryWeights.Of(piece, gradients.ChunkStart1, gradients.ChunkStart2), dim, hidden);
    }

    // Where the weights are those of a chunk's start.
    private static void JoinFrozen(ref Workspace work)
    {
        int dim = work.Chunk.Dim, hidden = work.Chunk.Hidden;
        AddScaled(work.DFrozen.W1, 1, hidden, dim, work.DState.W1);
        AddScaled(work.DFrozen.W2, 1, dim, hidden, work.DState.W2);
        Clear(work.DFrozen.W1, hidden, dim);
        Clear(work.DFrozen.W2, dim, hidden);
    }

    private void ChunkBackward(ref Workspace work, in DeepMemoryWeights frozen, in DeepMemoryWeights state, int piece)
    {
        ref DeepMemoryChunk chunk = ref work.Chunk;
        ref ChunkCoefficientGradients d = ref work.Coefficients;
        int start = chunk.Start, n = chunk.Length, dim = chunk.Dim, hidden = chunk.Hidden, batch = piece / inputs.Heads,
            head = piece % inputs.Heads;
        MatrixView dO = HeadRows.Tokens(upstream.O, batch, head), dQ = work.Layer2.Queries, dK = work.DK;
        if (!dO.IsNull)
            dO = dO.FromRow(start);
        MatrixView layerReads = chunk.ReadsWrites ? dO : default;

        d.Clear(n);
        Span(work.DErase, n).Clear();
        Transpose(frozen.W1, hidden, dim, work.Frozen1Transposed.Start);
        Transpose(frozen.W2, dim, hidden, work.Frozen2Transposed.Start);

        // The reads, from the output back: dO, then the activation's input, which is the output of the layer before.
        chunk.Layer1.Backward(chunk.Coefficients, chunk.Erase, settings.Read, n, state.W1, state.P1, layerReads, work.Layer1, d,
            work.DErase);
        if (!dO.IsNull && !chunk.ReadsWrites)
        {
            Add(work.Layer1.Queries, dO, work.Frozen1Transposed, n, hidden, dim);
            Add(work.DFrozen.W1, chunk.Layer1.Queries.Transposed, dO, hidden, dim, n);
        }

        MapGradient<GeluGradient>(chunk, chunk.ReadInput, work.Layer1.Queries, work.DReadInput);
        chunk.Layer2.Backward(chunk.Coefficients, chunk.Erase, settings.Read, n, state.W2, state.P2,
            layerReads.IsNull ? default : work.DReadInput, work.Layer2, d, work.DErase);
        if (!dO.IsNull && !chunk.ReadsWrites)
        {
            Add(dQ, work.DReadInput, work.Frozen2Transposed, n, dim, hidden);
            Add(work.DFrozen.W2, chunk.Q.Transposed, work.DReadInput, dim, hidden, n);
        }

        if (!dO.IsNull && settings.Residual)
            AddScaled(dO, 1, n, dim, dQ);
        d.Propagate(chunk.Coefficients, n);
        GradientsBackward(ref work, frozen);

        // d log α = α dα, which is 0 where α is.
        TensorPrimitives.Multiply(Span(d.Alpha, n), Span(chunk.Coefficients.Alpha, n), Span(d.Alpha, n));
        Store(gradients.Q, dQ, dim);
        Store(gradients.K, dK, dim);
        Store(gradients.V, work.DV, dim);
        Store(gradients.LogAlpha, new MatrixView(d.Alpha, 1), 1);
        Store(gradients.Theta, new MatrixView(work.DTheta, 1), 1);
        Store(gradients.Erase, new MatrixView(work.DErase, 1), 1);
        Store(gradients.Mu, new MatrixView(d.Mu, 1), 1);

        void Store(Tensor? gradient, MatrixView values, int columns)
        {
            if (gradient is not null)
                Subnormals.Copy(values, n, columns, HeadRows.Tokens(gradient, batch, head).FromRow(start));
        }
    }

    // From the gradients of the layers' keys and u to θ, k, v and the frozen weights.
    private void GradientsBackward(ref Workspace work, in DeepMemoryWeights frozen)
    {
        ref DeepMemoryChunk chunk = ref work.Chunk;
        int n = chunk.Length, dim = chunk.Dim, hidden = chunk.Hidden;
        MatrixView du1 = work.Layer1.Writes, du2 = work.Layer2.Writes, dError = work.DError, dH = work.Layer1.Keys, dK = work.DK,
            dZ = work.DZ;
        for (int t = 0; t < n; t++)
        {
            float theta = chunk.Theta[t], r1 = chunk.Norm1[t], r2 = chunk.Norm2[t];
            float along1 = Dot(du1.Row(t), chunk.Error.Row(t), dim), along2 = Dot(du2.Row(t), chunk.Step.Row(t), hidden);
            work.DTheta[t] = -(r1 * along1 + r2 * along2);
            UnitKeyBackward(chunk.Layer1.Keys.Row(t), r1, -theta * along1, dH.Row(t), dH.Row(t), hidden);
            UnitKeyBackward(chunk.Layer2.Keys.Row(t), r2, -theta * along2, work.Layer2.Keys.Row(t), dK.Row(t), dim);

            // u₁ = −θ r₁ e and u₂ = −θ r₂ (e W1_cᵀ) ∘ φ'(z).
            TensorPrimitives.Multiply(Span(du1.Row(t), dim), -theta * r1, Span(dError.Row(t), dim));
            Span<float> dStep = Span(du2.Row(t), hidden);
            TensorPrimitives.Multiply(dStep, -theta * r2, dStep);
            TensorPrimitives.Multiply(dStep, Span(chunk.Slope.Row(t), hidden), Span(work.DBack.Row(t), hidden));
            TensorPrimitives.Multiply(dStep, Span(chunk.Back.Row(t), hidden), dStep);
        }

        MapGradient<GeluSlopeGradient>(chunk, chunk.Z, du2, dZ);
        Add(dError, work.DBack, frozen.W1, n, dim, hidden);
        Add(work.DFrozen.W1, work.DBack.Transposed, chunk.Error, hidden, dim, n);

        // e = k + h W1_c − v, or −v.
        Clear(work.DV, n, dim);
        AddScaled(dError, -1, n, dim, work.DV);
        if (chunk.IsL2)
        {
            Add(dH, dError, work.Frozen1Transposed, n, hidden, dim);
            Add(work.DFrozen.W1, chunk.H.Transposed, dError, hidden, dim, n);
            if (settings.Residual)
                AddScaled(dError, 1, n, dim, dK);
        }

        // h = φ(z), z = k W2_c.
        for (int t = 0; t < n; t++)
            TensorPrimitives.MultiplyAdd(Span(dH.Row(t), hidden), Span(chunk.Slope.Row(t), hidden), Span(dZ.Row(t), hidden),
                Span(dZ.Row(t), hidden));
        Add(dK, dZ, work.Frozen2Transposed, n, dim, hidden);
        Add(work.DFrozen.W2, chunk.K.Transposed, dZ, dim, hidden, n);
    }

    // key = x / r with r = √(‖x‖² + ε²): dx = (dkey − ⟨dkey, key⟩ key) / r + dr key. dx may be dkey.
    private static void UnitKeyBackward(float* key, float r, float dr, float* dKey, float* dx, int length)
    {
        float along = dr - Dot(dKey, key, length) / r;
        TensorPrimitives.Multiply(Span(dKey, length), 1 / r, Span(dx, length));
        AddScaled(key, along, length, dx);
    }

    private static void MapGradient<TFunction>(in DeepMemoryChunk chunk, MatrixView x, MatrixView dy, MatrixView dx)
        where TFunction : struct, IVectorFunction2
    {
        for (int t = 0; t < chunk.Length; t++)
            VectorMath.Map<TFunction>(Span(x.Row(t), chunk.Hidden), Span(dy.Row(t), chunk.Hidden), Span(dx.Row(t), chunk.Hidden));
    }

    private struct Workspace
    {
        public DeepMemoryChunk Chunk;
        public ChunkCoefficientGradients Coefficients;

        /// <summary>The layers' gradients; those of layer 2's queries become dq.</summary>
        public readonly DeepMemoryLayerGradient Layer1, Layer2;

        /// <summary>
        /// Gradients of the state at the chunk's end, then at its start; and of the frozen weights, gathered over the chunk.
        /// </summary>
        public readonly DeepMemoryWeights DState, DFrozen;

        /// <summary>W1_cᵀ [D, N] and W2_cᵀ [N, D].</summary>
        public readonly MatrixView Frozen1Transposed, Frozen2Transposed;

        /// <summary>[n, N].</summary>
        public readonly MatrixView DReadInput, DBack, DZ;

        /// <summary>[n, D].</summary>
        public readonly MatrixView DError, DK, DV;
        public readonly float* DErase, DTheta;

        public Workspace(ref ScratchArena arena, in DeepMemoryInputs inputs, DeepMemorySettings settings, int piece)
        {
            int n = settings.Plan(inputs.Time).Longest, dim = inputs.Dim, hidden = inputs.Hidden;
            bool momentum = inputs.Mu is not null;
            Chunk = new DeepMemoryChunk(ref arena, inputs, settings, piece);
            Coefficients = new ChunkCoefficientGradients(ref arena, n, momentum);
            DState = new DeepMemoryWeights(ref arena, dim, hidden, momentum);
            DFrozen = new DeepMemoryWeights(ref arena, dim, hidden, momentum: false);
            Layer1 = new DeepMemoryLayerGradient(ref arena, n, hidden, dim, DState.W1, DState.P1);
            Layer2 = new DeepMemoryLayerGradient(ref arena, n, dim, hidden, DState.W2, DState.P2);
            Frozen1Transposed = arena.Matrix(dim, hidden);
            Frozen2Transposed = arena.Matrix(hidden, dim);
            DReadInput = arena.Matrix(n, hidden);
            DBack = arena.Matrix(n, hidden);
            DZ = arena.Matrix(n, hidden);
            DError = arena.Matrix(n, dim);
            DK = arena.Matrix(n, dim);
            DV = arena.Matrix(n, dim);
            DErase = arena.Vector(n);
            DTheta = arena.Vector(n);
        }
    }
}
