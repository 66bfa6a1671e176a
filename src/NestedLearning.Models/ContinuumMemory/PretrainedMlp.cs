namespace NestedLearning.Models;

/// <summary>
/// How an ordinary transformer's checkpoint stores its MLPs: a name for each tensor, in which <c>{layer}</c> stands for the
/// number of the layer, and what the names do not say. Every weight and bias must be in the file when it is named here.
/// </summary>
/// <param name="In">The projection to the hidden units, such as <c>model.layers.{layer}.mlp.up_proj.weight</c>.</param>
/// <param name="Out">The projection back, such as <c>model.layers.{layer}.mlp.down_proj.weight</c>.</param>
public sealed record PretrainedMlpLayout(string In, string Out)
{
    /// <summary>The hidden units' bias; null is none.</summary>
    public string? InBias { get; init; }

    /// <summary>The output's bias; null is none.</summary>
    public string? OutBias { get; init; }

    /// <summary>The gate's projection of a gated MLP, such as <c>model.layers.{layer}.mlp.gate_proj.weight</c>; null is none.</summary>
    public string? Gate { get; init; }

    /// <summary>The gate's bias; null is none.</summary>
    public string? GateBias { get; init; }

    /// <summary>The gain of the norm before the MLP; null: there is no norm, or it has no gain.</summary>
    public string? NormGain { get; init; }

    /// <summary>The bias of a layer norm; null is none.</summary>
    public string? NormBias { get; init; }

    /// <summary>
    /// Whether weights are stored as [outputs, inputs], as PyTorch's Linear does; otherwise as [inputs, outputs], as GPT-2 does.
    /// </summary>
    public bool OutputsFirst { get; init; } = true;

    /// <summary>The nonlinearity.</summary>
    public MlpActivation Activation { get; init; }

    /// <summary>The norm before the MLP; null is none.</summary>
    public NormKind? Norm { get; init; }

    /// <summary>ε of the norm.</summary>
    public float NormEpsilon { get; init; } = 1e-6f;

    /// <summary>GPT-2: layer norm, GELU by tanh, biases, weights as [inputs, outputs].</summary>
    public static PretrainedMlpLayout Gpt2 { get; } = new("h.{layer}.mlp.c_fc.weight", "h.{layer}.mlp.c_proj.weight")
    {
        InBias = "h.{layer}.mlp.c_fc.bias", OutBias = "h.{layer}.mlp.c_proj.bias", NormGain = "h.{layer}.ln_2.weight",
        NormBias = "h.{layer}.ln_2.bias",
        OutputsFirst = false, Activation = MlpActivation.GeluTanh, Norm = NormKind.Layer, NormEpsilon = 1e-5f,
    };

    /// <summary>
    /// Llama, Mistral, Qwen and others of their form: RMS norm, SwiGLU, no biases. Set ε as the model's configuration says.
    /// </summary>
    public static PretrainedMlpLayout Llama { get; } = new("model.layers.{layer}.mlp.up_proj.weight",
        "model.layers.{layer}.mlp.down_proj.weight")
    {
        Gate = "model.layers.{layer}.mlp.gate_proj.weight", NormGain = "model.layers.{layer}.post_attention_layernorm.weight",
        Activation = MlpActivation.Silu, Norm = NormKind.Rms, NormEpsilon = 1e-5f,
    };

    /// <summary>The form of the MLPs.</summary>
    public MlpForm Form => new()
    {
        Norm = Norm, NormEpsilon = NormEpsilon, Activation = Activation, Gated = Gate is not null, OutputBias = OutBias is not null,
    };
}

/// <summary>
/// One MLP of a transformer, with the norm before it: f(x) of the sublayer x + f(x). It warm-starts a continuum memory with
/// <see cref="ContinuumMemory.FromPretrained"/>.
/// </summary>
public sealed class PretrainedMlp
{
    private PretrainedMlp(MlpForm form, int dim, int hidden, float[] weightIn, float[] weightOut)
    {
        Form = form;
        Dim = dim;
        Hidden = hidden;
        In = weightIn;
        Out = weightOut;
    }

    /// <summary>The form it has in the checkpoint.</summary>
    public MlpForm Form { get; }

    /// <summary>D.</summary>
    public int Dim { get; }

    /// <summary>N: the number of hidden units.</summary>
    public int Hidden { get; }

    // Weights [D, N] and [N, D]; null where the layout names none.
    internal float[] In { get; }

    internal float[] Out { get; }

    internal float[]? InBias { get; init; }

    internal float[]? OutBias { get; init; }

    internal float[]? Gate { get; init; }

    internal float[]? GateBias { get; init; }

    internal float[]? NormGain { get; init; }

    internal float[]? NormBias { get; init; }

    /// <summary>Reads one layer's MLP.</summary>
    /// <exception cref="ArgumentException">The layout contradicts itself.</exception>
    /// <exception cref="CheckpointException">Tensors are missing or do not fit together; the message names them, with their
    /// shapes.</exception>
    public static PretrainedMlp Read(SafetensorsFile file, PretrainedMlpLayout layout, int layer)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(layout);
        Validate(layout);
        string Named(string name) =>
            name.Replace("{layer}", layer.ToString(System.Globalization.CultureInfo.InvariantCulture), StringComparison.Ordinal);
        string[] missing =
            [.. ((string?[])[layout.In, layout.Out, layout.InBias, layout.OutBias, layout.Gate, layout.GateBias, layout.NormGain,
            layout.NormBias])
            .OfType<string>().Select(Named).Where(n => !file.Contains(n))];
        if (missing.Length > 0)
            throw new CheckpointException($"There is no tensor '{string.Join("', '", missing)}'.");

        string weightIn = Named(layout.In);
        Shape shape = file.ShapeOf(weightIn);
        if (shape.Rank != 2 || shape.ElementCount == 0)
            throw new CheckpointException($"Tensor '{weightIn}' has shape {shape}, expected " +
                $"{(layout.OutputsFirst ? "[hidden, dim]" : "[dim, hidden]")}.");
        (int dim, int hidden) = layout.OutputsFirst ? (shape[1], shape[0]) : (shape[0], shape[1]);
        return new PretrainedMlp(layout.Form, dim, hidden, Matrix(layout.In, dim, hidden), Matrix(layout.Out, hidden, dim))
        {
            InBias = Vector(layout.InBias, hidden),
            OutBias = Vector(layout.OutBias, dim),
            Gate = layout.Gate is null ? null : Matrix(layout.Gate, dim, hidden),
            GateBias = Vector(layout.GateBias, hidden),
            NormGain = Vector(layout.NormGain, dim),
            NormBias = Vector(layout.NormBias, dim),
        };

        float[]? Vector(string? name, int length) => name is null ? null : file.Floats(Named(name), [length]).ToArray();

        float[] Matrix(string name, int inputs, int outputs)
        {
            if (!layout.OutputsFirst)
                return file.Floats(Named(name), [inputs, outputs]).ToArray();
            ReadOnlySpan<float> stored = file.Floats(Named(name), [outputs, inputs]);
            float[] matrix = new float[stored.Length];
            for (int o = 0; o < outputs; o++)
            {
                for (int i = 0; i < inputs; i++)
                    matrix[i * outputs + o] = stored[o * inputs + i];
            }

            return matrix;
        }
    }

    private static void Validate(PretrainedMlpLayout layout)
    {
        ArgumentException.ThrowIfNullOrEmpty(layout.In);
        ArgumentException.ThrowIfNullOrEmpty(layout.Out);
        layout.Form.Validate();
        if (layout.GateBias is not null && layout.Gate is null)
            throw new ArgumentException($"The layout names a gate's bias '{layout.GateBias}', but no gate.", nameof(layout));
        if (layout.NormGain is not null && layout.Norm is null or NormKind.L2)
            throw new ArgumentException(
                $"The layout names a gain '{layout.NormGain}', but its norm is {layout.Norm?.ToString() ?? "none"}.", nameof(layout));
        if (layout.NormBias is not null && layout.Norm != NormKind.Layer)
            throw new ArgumentException($"The layout names a norm's bias '{layout.NormBias}', but its norm is " +
                $"{layout.Norm?.ToString() ?? "none"}.", nameof(layout));
    }
}
