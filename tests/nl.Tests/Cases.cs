using System.Globalization;

namespace NestedLearning.CommandLine.Tests;

/// <summary>Small cases with results worked out here, in double.</summary>
internal static class Cases
{
    /// <summary>Three steps of AdamW on four weights, with its results. The decays are exact in float32, and so is 1 − β.</summary>
    public static SafetensorsFile AdamW()
    {
        const double LearningRate = 0.1, Beta1 = 0.875, Beta2 = 0.984375, Epsilon = 1e-8, WeightDecay = 0.5;
        double[] w = [1, -2, 0.5, 0], m = new double[4], v = new double[4];
        double[][] gradients = [[0.25, -1, 2, 0.5], [0.5, 1, -1, 0.125], [-0.25, 0.75, 1, 4]];
        var file = new SafetensorsFile();
        file.Add("in.w", [2, 2], ToSingle(w));
        file.Add("in.g", [3, 2, 2], ToSingle([.. gradients.SelectMany(g => g)]));
        for (int step = 1; step <= gradients.Length; step++)
        {
            for (int i = 0; i < w.Length; i++)
            {
                double g = gradients[step - 1][i];
                m[i] = Beta1 * m[i] + (1 - Beta1) * g;
                v[i] = Beta2 * v[i] + (1 - Beta2) * g * g;
                double first = m[i] / (1 - Math.Pow(Beta1, step)), second = v[i] / (1 - Math.Pow(Beta2, step));
                w[i] -= LearningRate * (first / (Math.Sqrt(second) + Epsilon) + WeightDecay * w[i]);
            }
        }

        file.Add("out.w", [2, 2], ToSingle(w));
        file.Add("out.m", [2, 2], ToSingle(m));
        file.Add("out.v", [2, 2], ToSingle(v));
        file.Metadata["op"] = "adamw";
        file.Metadata["lr"] = LearningRate.ToString(CultureInfo.InvariantCulture);
        file.Metadata["beta1"] = Beta1.ToString(CultureInfo.InvariantCulture);
        file.Metadata["beta2"] = Beta2.ToString(CultureInfo.InvariantCulture);
        file.Metadata["eps"] = Epsilon.ToString(CultureInfo.InvariantCulture);
        file.Metadata["weight_decay"] = WeightDecay.ToString(CultureInfo.InvariantCulture);
        return file;
    }

    /// <summary>
    /// Linear attention over three tokens, Dk = 2 and Dv = 1, without any of the optional inputs: S = Σ kᵀu, o = q S / 2.
    /// </summary>
    public static SafetensorsFile LinearAttention()
    {
        var file = new SafetensorsFile();
        file.Add("in.q", [1, 3, 1, 2], [1, 0, 0, 1, 1, 1]);
        file.Add("in.k", [1, 3, 1, 2], [1, 0, 0, 2, 1, -1]);
        file.Add("in.u", [1, 3, 1, 1], [3, 1, 4]);
        file.Add("out.o", [1, 3, 1, 1], [1.5f, 1, 2.5f]);
        file.Add("out.s", [1, 1, 2, 1], [7, -2]);
        file.Metadata["op"] = "scan";
        file.Metadata["scale"] = "0.5";
        file.Metadata["read"] = "after";
        return file;
    }

    /// <summary>
    /// Two steps of delta momentum with α = 0.5 and ε = 1 at a rate of 0.5. After the first, m = −g/2 = (−1, 0); the second
    /// gradient (1, 1) is answered −1/2 of itself by that, so half of m is kept, (0.5, 0.5) added and half of g taken off.
    /// </summary>
    public static SafetensorsFile DeltaMomentum()
    {
        var file = new SafetensorsFile();
        file.Add("in.w", [1, 2], [0, 0]);
        file.Add("in.g", [2, 1, 2], [2, 0, 1, 1]);
        file.Add("out.m", [1, 2], [-0.5f, 0]);
        file.Add("out.w", [1, 2], [-1.5f, 0]);
        file.Metadata["op"] = "delta-momentum";
        file.Metadata["lr"] = "0.5";
        file.Metadata["alpha"] = "0.5";
        file.Metadata["erase"] = "1";
        return file;
    }

    /// <summary>One token of delta gradient descent: η = 1, ‖x‖² = 3, so η' = 1/4; W x + ∇L = (8, −4).</summary>
    public static SafetensorsFile DeltaGradientDescent()
    {
        var file = new SafetensorsFile();
        file.Add("in.w", [2, 3], [1, 2, 3, 0, 0, -1]);
        file.Add("in.x", [1, 3], [1, 1, 1]);
        file.Add("in.grad_y", [1, 2], [2, -3]);
        file.Add("out.w", [2, 3], [-1, 0, 1, 1, 1, 0]);
        file.Metadata["op"] = "dgd";
        file.Metadata["lr"] = "1";
        return file;
    }

    /// <summary>Two levels, of chunks 1 and 2, over three steps: the second commits once, and its last step is kept back.</summary>
    public static SafetensorsFile Commit()
    {
        var file = new SafetensorsFile();
        file.Add("in.theta.0", [1], [10]);
        file.Add("in.theta.1", [2], [1, 2]);
        file.Add("in.err.0", [3, 1], [1, 2, 3]);
        file.Add("in.err.1", [3, 2], [1, 10, 2, 20, 3, 30]);
        file.Add("in.eta", [3, 2], [1, 0.5f, 2, 0.25f, 3, 1]);
        file.Add("out.theta.0", [3, 1], [9, 5, -4]);
        file.Add("out.theta.1", [3, 2], [1, 2, 0, -8, 0, -8]);
        file.Metadata["op"] = "commit";
        file.Metadata["chunks"] = "1,2";
        return file;
    }

    /// <summary>A case with some of its tensors and settings left out, or set to another text.</summary>
    public static SafetensorsFile Edit(SafetensorsFile file, string? without = null, params (string Key, string Value)[] settings)
    {
        var copy = new SafetensorsFile();
        foreach (string name in file.Names.Where(n => n != without))
            copy.Add(name, file.ShapeOf(name), file.Floats(name));
        foreach ((string key, string value) in file.Metadata)
        {
            if (key != without)
                copy.Metadata[key] = value;
        }

        foreach ((string key, string value) in settings)
            copy.Metadata[key] = value;
        return copy;
    }

    private static float[] ToSingle(double[] values) => [.. values.Select(v => (float)v)];
}
