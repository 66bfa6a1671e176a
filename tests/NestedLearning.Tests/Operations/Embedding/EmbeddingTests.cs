using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class EmbeddingTests(string backend) : DenseTests(backend)
{
    private static readonly (int Tokens, int Rows, int Width)[] s_shapes =
    [
        (1, 1, 1), (1, 5, 7), (9, 3, 8), (64, 10, 9), (65, 10, 31), (130, 256, 65), (7, 1000, 129),
    ];

    [Fact]
    public void Forward_CopiesRows()
    {
        foreach ((int count, int rows, int width) in s_shapes)
        {
            var data = new TestData((ulong)count);
            int[] tokens = Tokens(data, count, rows);
            float[] table = data.Normal(rows * width);
            Tensor y = Output([count, width]);
            using IndexTensor indices = Device.FromIndices([count], tokens);
            Embedding.Forward(indices, Input([rows, width], table), y);
            Compare.Close($"y of {count} tokens, [{rows}, {width}]", y, ReferenceDense.Embed(tokens, Compare.ToDouble(table), width),
                Tolerances.Embedding.Forward);
            EndCase();
        }
    }

    [Fact]
    public void Backward_AddsEachTokensRow()
    {
        foreach ((int count, int rows, int width) in s_shapes)
        {
            var data = new TestData((ulong)count);
            int[] tokens = Tokens(data, count, rows);
            float[] dy = data.Normal(count * width), before = data.Normal(rows * width);
            Tensor dTable = InOut([rows, width], before);
            using IndexTensor indices = Device.FromIndices([count], tokens);
            Embedding.Backward(indices, Input([count, width], dy), dTable);
            double[] wide = Compare.ToDouble(dy);
            CloseAsSum(
                $"dTable of {count} tokens, [{rows}, {width}]", dTable,
                Sum(Compare.ToDouble(before), ReferenceDense.EmbedBackward(tokens, wide, rows, width)),
                Sum(Absolute(Compare.ToDouble(before)), ReferenceDense.EmbedBackward(tokens, Absolute(wide), rows, width)),
                Tolerances.Embedding.Gradient);
            EndCase();
        }
    }

    [Fact]
    public void Backward_AddsInTokenOrder()
    {
        // In float32 these sums depend on the order: (1e8 + 1) − 1e8 = 0, but (1e8 − 1e8) + 1 = 1.
        Tensor dTable = InOut([2, 1], [0f, 0f]);
        using IndexTensor tokens = Device.FromIndices([6], [0, 1, 0, 1, 0, 1]);
        Embedding.Backward(tokens, Input([6, 1], [1e8f, 1e8f, 1f, -1e8f, -1e8f, 1f]), dTable);
        Assert.Equal([0f, 1f], dTable.ToArray());
    }

    [Fact]
    public void Nan_StaysInItsRow()
    {
        float[] table = new TestData(1).Normal(4 * 11), dy = new TestData(2).Normal(3 * 11);
        table[2 * 11 + 10] = float.NaN;
        dy[11] = float.NaN;
        using IndexTensor tokens = Device.FromIndices([3], [2, 0, 3]);
        Tensor y = Output([3, 11]), dTable = InOut([4, 11], new float[44]);
        Embedding.Forward(tokens, Input([4, 11], table), y);
        Embedding.Backward(tokens, Input([3, 11], dy), dTable);
        Assert.Equal(Enumerable.Range(0, 33).Select(i => i == 10), y.ToArray().Select(float.IsNaN));
        Assert.Equal(Enumerable.Range(0, 44).Select(i => i == 0), dTable.ToArray().Select(float.IsNaN));
    }

    [LargeFact]
    public void Threads_DoNotChangeBits()
    {
        var data = new TestData(3);
        int[] tokens = Tokens(data, 500, 50);
        float[] table = data.Normal(50 * 203), dy = data.Normal(500 * 203), before = data.Normal(50 * 203);
        using IndexTensor indices = Device.FromIndices([5, 100], tokens);
        SameBitsForAnyThreads(() =>
        {
            Tensor y = Output([5, 100, 203]), dTable = InOut([50, 203], before);
            Embedding.Forward(indices, Input([50, 203], table), y);
            Embedding.Backward(indices, Input([5, 100, 203], dy), dTable);
            return [("y", y.ToArray()), ("dTable", dTable.ToArray())];
        });
    }

    // The first and the last row are among them.
    private static int[] Tokens(TestData data, int count, int rows)
    {
        int[] tokens = data.Below(count, rows);
        tokens[0] = rows - 1;
        tokens[^1] = count == 1 ? rows - 1 : 0;
        return tokens;
    }
}

public sealed class ManagedEmbeddingTests() : EmbeddingTests("managed");

public sealed class CpuEmbeddingTests() : EmbeddingTests("cpu");
