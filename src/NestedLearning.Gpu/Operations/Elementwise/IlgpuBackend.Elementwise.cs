using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    public override void Fill(Tensor tensor, float value) => Elementwise(ElementwiseKernels.Fill, tensor, factor: value);

    public override void ActivationForward(Activation activation, Tensor x, Tensor y) =>
        Elementwise(ElementwiseKernels.ActivationForward, x, y, function: activation);

    public override void ActivationBackward(Activation activation, Tensor x, Tensor dy, Tensor dx) =>
        Elementwise(ElementwiseKernels.ActivationBackward, x, dy, dx, function: activation);

    public override void AddScaled(float factor, Tensor x, Tensor y) =>
        Elementwise(ElementwiseKernels.AddScaled, x, y, factor: factor);

    public override void Multiply(Tensor x, Tensor y, Tensor z) => Elementwise(ElementwiseKernels.Multiply, x, y, z);

    public override void Scale(Tensor x, float factor) => Elementwise(ElementwiseKernels.Scale, x, factor: factor);

    public override double SumOfSquares(Tensor x)
    {
        double sum = 0;
        SumsOfSquares([x], new Span<double>(ref sum));
        return sum;
    }

    public override void SumsOfSquares(ReadOnlySpan<Tensor> tensors, Span<double> sums)
    {
        sums.Clear();
        int groups = 0;
        foreach (Tensor x in tensors)
            groups += GroupsOf(x.Count);
        if (groups == 0)
            return;
        using var tally = new Tally(this, groups, tensors.Length, 1);
        int first = 0, results = 0;
        foreach (Tensor x in tensors)
        {
            int own = GroupsOf(x.Count);
            if (own == 0)
                continue;
            Launch(SumKernels.Squares, own, new SumArguments
            {
                X = View(x), Parts = tally.Parts, Ranges = tally.Ranges.SubView(2 * results++, 2), First = first,
            });
            first += own;
        }

        double[] read = tally.Read(results);
        for (int i = 0, result = 0; i < tensors.Length; i++)
        {
            if (tensors[i].Count > 0)
                sums[i] = read[result++];
        }
    }

    private void Elementwise(
        Action<ElementwiseArguments> kernel, Tensor x, Tensor? y = null, Tensor? z = null,
        float factor = 0, Activation function = default) =>
        Elementwise(kernel, new() { X = View(x), Y = View(y), Z = View(z), Factor = factor, Function = (int)function });

    private void Elementwise(Action<ElementwiseArguments> kernel, ElementwiseArguments arguments) =>
        LaunchItems(kernel, arguments.X.Length, arguments);
}
