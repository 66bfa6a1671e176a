using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>The heads of a deep memory's tensors.</summary>
internal static class DeepMemoryHeads
{
    /// <summary>Head <paramref name="head"/> of [B, H].</summary>
    public static DeepMemoryHead<float> Of(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemorySaved saved, int head) =>
        new()
        {
            Q = HeadRows.Tokens(inputs.Q, head),
            K = HeadRows.Tokens(inputs.K, head),
            V = HeadRows.Tokens(inputs.V, head),
            LogAlpha = HeadRows.Tokens(inputs.LogAlpha, head),
            Theta = HeadRows.Tokens(inputs.Theta, head),
            Erase = HeadRows.Tokens(inputs.Erase, head),
            Mu = HeadRows.Tokens(inputs.Mu, head),
            Dim = inputs.Dim,
            Hidden = inputs.Hidden,
            Settings = settings,
            Plan = settings.Plan(inputs.Time),
            Initial = Weights(head, inputs.W1, inputs.W2, inputs.P1, inputs.P2),
            ChunkStart = Weights(head, inputs.ChunkStart1, inputs.ChunkStart2),
            Saved = Weights(head, saved.W1, saved.W2, saved.P1, saved.P2),
        };

    /// <summary>The same head's weights.</summary>
    public static DeepMemoryWeights<float> Weights(int head, Tensor? w1, Tensor? w2, Tensor? p1 = null, Tensor? p2 = null) =>
        new(HeadRows.State(w1, head), HeadRows.State(w2, head), HeadRows.State(p1, head), HeadRows.State(p2, head));
}

/// <summary>GELU over vectors of float32.</summary>
internal readonly unsafe struct DeepMemoryGelu : IDeepMemoryActivation<float>
{
    public static void Value(float* x, int count, float* y) => VectorMath.Map<GeluFunction>(Span(x, count), Span(y, count));

    public static void Slope(float* x, int count, float* y) => VectorMath.Map<GeluSlopeFunction>(Span(x, count), Span(y, count));

    public static void Curvature(float* x, int count, float* y) => VectorMath.Map<GeluCurvatureFunction>(Span(x, count), Span(y, count));
}

/// <summary>A deep memory's forward pass over one head.</summary>
internal readonly unsafe struct DeepMemoryForwardPiece(DeepMemoryInputs inputs, DeepMemorySettings settings, DeepMemoryOutputs outputs)
    : IPieceAction
{
    public void Invoke(int piece)
    {
        DeepMemoryHead<float> head = DeepMemoryHeads.Of(inputs, settings, outputs.Saved, piece);
        new DeepMemoryForward<float, DeepMemoryGelu>(
            head, HeadRows.Tokens(outputs.O, piece), DeepMemoryHeads.Weights(piece, outputs.W1, outputs.W2, outputs.P1, outputs.P2),
            DeepMemoryHeads.Weights(piece, outputs.ChunkStart1, outputs.ChunkStart2),
            Scratch.Take(DeepMemoryForward<float, DeepMemoryGelu>.ScratchLength(head))).Run();
    }
}

/// <summary>Its backward pass over one head.</summary>
internal readonly unsafe struct DeepMemoryBackwardPiece(
    DeepMemoryInputs inputs, DeepMemorySettings settings, DeepMemorySaved saved, DeepMemoryOutputGradients upstream,
    DeepMemoryGradients gradients) : IPieceAction
{
    public void Invoke(int piece)
    {
        var results = new DeepMemoryHeadGradients<float>
        {
            Q = HeadRows.Tokens(gradients.Q, piece),
            K = HeadRows.Tokens(gradients.K, piece),
            V = HeadRows.Tokens(gradients.V, piece),
            LogAlpha = HeadRows.Tokens(gradients.LogAlpha, piece),
            Theta = HeadRows.Tokens(gradients.Theta, piece),
            Erase = HeadRows.Tokens(gradients.Erase, piece),
            Mu = HeadRows.Tokens(gradients.Mu, piece),
            Initial = DeepMemoryHeads.Weights(piece, gradients.W1, gradients.W2, gradients.P1, gradients.P2),
            ChunkStart = DeepMemoryHeads.Weights(piece, gradients.ChunkStart1, gradients.ChunkStart2),
        };
        DeepMemoryHead<float> head = DeepMemoryHeads.Of(inputs, settings, saved, piece);
        new DeepMemoryBackward<float, DeepMemoryGelu>(
            head, HeadRows.Tokens(upstream.O, piece), DeepMemoryHeads.Weights(piece, upstream.W1, upstream.W2, upstream.P1, upstream.P2),
            DeepMemoryHeads.Weights(piece, upstream.ChunkStart1, upstream.ChunkStart2), results,
            Scratch.Take(DeepMemoryBackward<float, DeepMemoryGelu>.ScratchLength(head))).Run();
    }
}
