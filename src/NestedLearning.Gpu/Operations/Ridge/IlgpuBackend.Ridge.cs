using System.Runtime.InteropServices;
using NestedLearning.Gpu.Kernels;
using NestedLearning.Operations;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    public override void Ridge(Tensor x, Tensor y, Tensor factor, Tensor w, Tensor wLow, double forget, Tensor? o)
    {
        int samples = x.Shape[0], features = x.Shape[1], outputs = y.Shape[1], padded = RidgeLayout.Padded(features);
        if (samples == 0)
            return;
        int most = Math.Min(samples, RidgeLayout.Group);
        var arguments = new RidgeArguments
        {
            W = View(w), WLow = View(wLow), Factor = View(factor).Cast<double>(), Features = features, Padded = padded, Outputs = outputs,
        };
        long planned = (2L * features + outputs) * RidgeLayout.Group;
        using var workspace = new Workspace(this);
        DeviceStorage read = workspace.Take(2L * most * (features + outputs)), plan = workspace.Take(2 * planned);
        double[] d = new double[features], answers = new double[most * (features + outputs)], numbers = new double[planned];
        float[] targets = y.ToArray(), answered = new float[o is null ? 0 : o.Count];
        Download(factor.Storage, MemoryMarshal.Cast<double, float>(d.AsSpan()));
        for (int first = 0; first < samples; first += RidgeLayout.Group)
        {
            int n = Math.Min(RidgeLayout.Group, samples - first);
            arguments.Samples = n;
            arguments.X = View(x).SubView((long)first * features, (long)n * features);
            arguments.Read = read.View.SubView(0, 2L * n * (features + outputs)).Cast<double>();
            arguments.Plan = plan.View.Cast<double>();
            Launch(RidgeKernels.ReadRows, features, arguments);
            LaunchItems(RidgeKernels.ReadOutputs, (long)n * outputs, arguments);
            Span<double> now = answers.AsSpan(0, n * (features + outputs));
            Download(read, MemoryMarshal.Cast<double, float>(now));
            Span<double> o64 = now[(n * features)..];
            PlanRidge(now[..(n * features)], o64, d, targets.AsSpan(first * outputs, n * outputs), numbers, n, forget, first);
            for (int i = 0; i < o64.Length && o is not null; i++)
                answered[first * outputs + i] = Subnormals.Flush((float)o64[i]);
            Upload(MemoryMarshal.Cast<double, float>(numbers.AsSpan()), plan);
            LaunchItems(RidgeKernels.Write, features, arguments);
            Upload(MemoryMarshal.Cast<double, float>(d.AsSpan()), factor.Storage);
        }

        o?.CopyFrom(answered);
    }

    // c, v [D, Group] and errors [Group, V] of a group, and d after it.
    private static void PlanRidge(Span<double> f, Span<double> o, double[] d, ReadOnlySpan<float> targets, double[] numbers, int n,
        double forget, int learned)
    {
        const int Group = RidgeLayout.Group;
        var plan = new RidgePlan();
        double[] v = new double[f.Length], e = new double[o.Length], next = (double[])d.Clone();
        if (!plan.Features(n, forget, f, v, next) | !plan.Outputs(n, o, targets, e))
            throw RidgePlan.TooLarge(learned);
        next.CopyTo(d, 0);
        Array.Clear(numbers);
        int features = d.Length;
        for (int j = 0; j < features; j++)
        {
            f.Slice(j * n, n).CopyTo(numbers.AsSpan(j * Group));
            v.AsSpan(j * n, n).CopyTo(numbers.AsSpan((features + j) * Group));
        }

        e.CopyTo(numbers.AsSpan(2 * features * Group));
    }
}
