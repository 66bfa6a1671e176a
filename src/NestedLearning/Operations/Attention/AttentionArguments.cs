using static NestedLearning.Operations.TensorRole;

namespace NestedLearning.Operations;

/// <summary>What an attention computes.</summary>
/// <param name="Scale">Multiplies every score; usually 1/√Dk.</param>
public readonly record struct AttentionSettings(float Scale);

/// <summary>
/// Inputs of causal softmax attention. B sequences, T queries, S ≥ T keys, H heads, keys of Dk and values of Dv elements:
/// <code>
/// s_tj = scale · ⟨q_t, k_j⟩ for j ≤ S − T + t;  logSum_t = log Σ_j e^s_tj;  o_t = Σ_j e^(s_tj − logSum_t) v_j
/// </code>
/// With S = T a query sees its own token and those before it. Where S is larger, the first S − T keys are a cache of
/// earlier tokens, which every query sees.
/// </summary>
public readonly record struct AttentionInputs
{
    /// <summary>Queries [B, T, H, Dk].</summary>
    public required Tensor Q { get; init; }

    /// <summary>Keys [B, S, H, Dk].</summary>
    public required Tensor K { get; init; }

    /// <summary>Values [B, S, H, Dv].</summary>
    public required Tensor V { get; init; }

    /// <summary>B.</summary>
    public int Batch => Q.Shape[0];

    /// <summary>T.</summary>
    public int Time => Q.Shape[1];

    /// <summary>S.</summary>
    public int Keys => K.Shape[1];

    /// <summary>H.</summary>
    public int Heads => Q.Shape[2];

    /// <summary>Dk.</summary>
    public int KeyDim => Q.Shape[3];

    /// <summary>Dv.</summary>
    public int ValueDim => V.Shape[3];
}

/// <summary>An attention's results, which the backward pass takes again.</summary>
public readonly record struct AttentionOutputs
{
    /// <summary>[B, T, H, Dv].</summary>
    public required Tensor O { get; init; }

    /// <summary>log Σ_j e^s_tj [B, T, H]; null when there is no backward pass.</summary>
    public Tensor? LogSums { get; init; }
}

/// <summary>Where an attention's input gradients go, each with its input's shape; null is not wanted.</summary>
public readonly record struct AttentionGradients
{
    /// <summary>dL/dq.</summary>
    public Tensor? Q { get; init; }

    /// <summary>dL/dk, of all S keys.</summary>
    public Tensor? K { get; init; }

    /// <summary>dL/dv, of all S values.</summary>
    public Tensor? V { get; init; }
}

/// <summary>Names, shapes and roles of an attention's tensors.</summary>
internal static class AttentionTensors
{
    private const string Axes = "B T S H Dk Dv";

    public static readonly TensorList<AttentionInputs, AttentionGradients> Inputs = new(
        Axes,
        new("q", "B T H Dk", Required, (in i) => i.Q, (i, t) => i with { Q = t! }, (in g) => g.Q, (g, t) => g with { Q = t }),
        new("k", "B S H Dk", Required, (in i) => i.K, (i, t) => i with { K = t! }, (in g) => g.K, (g, t) => g with { K = t }),
        new("v", "B S H Dv", Required, (in i) => i.V, (i, t) => i with { V = t! }, (in g) => g.V, (g, t) => g with { V = t }));

    public static readonly TensorList<AttentionOutputs, Tensor?> Outputs = new(
        Axes,
        new TensorRow<AttentionOutputs, Tensor?>(
            "o", "B T H Dv", Required, (in i) => i.O, (i, t) => i with { O = t! },
            (in g) => g, (_, t) => t, gradientRole: Required));

    public static readonly TensorList<AttentionOutputs> Saved = new(
        Axes,
        new TensorRow<AttentionOutputs>("log sums", "B T H", Required, (in i) => i.LogSums, (i, t) => i with { LogSums = t },
            new(0, "what the forward pass wrote")));

    /// <summary>Checks settings and inputs, and writes these down among what an operation uses.</summary>
    public static OperationCall Validate(in AttentionInputs inputs, AttentionSettings settings, OperationUses? uses = null)
    {
        Require.Finite(settings.Scale, "scale");
        var call = new OperationCall(0) { Uses = uses };
        Inputs.Validate(inputs, ref call);
        Require.Positive(inputs.KeyDim, "Dk");
        Require.Positive(inputs.ValueDim, "Dv");
        if (inputs.Keys < inputs.Time)
            throw new ArgumentException($"k has {inputs.Keys} tokens, expected at least q's {inputs.Time}.", nameof(inputs));
        return call;
    }
}
