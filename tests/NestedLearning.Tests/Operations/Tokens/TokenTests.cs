using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>CopyTokens, and copies of whole tensors.</summary>
public abstract class TokenTests(string backend) : DenseTests(backend)
{
    // B, the shape of a token, tokens of both, where each begins, and how many are copied.
    private static readonly (int Batch, int[] Token, int Source, int SourceFirst, int Destination, int DestinationFirst,
        int Count)[] s_cases =
    [
        (1, [1], 1, 0, 1, 0, 1),
        (1, [7], 3, 2, 5, 0, 1),
        (2, [3], 4, 1, 9, 6, 3),
        (3, [2, 5], 6, 0, 6, 0, 6),
        (2, [4, 17], 3, 1, 7, 2, 2),
        (2, [3], 4, 1, 4, 1, 0),
        (0, [3], 4, 1, 4, 1, 2),
    ];

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void CopyTokens_WritesThoseTokens_AndNoOther(bool accumulate)
    {
        foreach ((int batch, int[] token, int sourceTokens, int sourceFirst, int destinationTokens, int destinationFirst,
            int count) in s_cases)
        {
            int width = token.Aggregate((x, y) => x * y);
            var data = new TestData((ulong)(width + count));
            float[] source = data.Normal(batch * sourceTokens * width), before = data.Normal(batch * destinationTokens * width),
                expected = [.. before];
            for (int b = 0; b < batch; b++)
            {
                for (int i = 0; i < count * width; i++)
                {
                    ref float at = ref expected[(b * destinationTokens + destinationFirst) * width + i];
                    at = source[(b * sourceTokens + sourceFirst) * width + i] + (accumulate ? at : 0);
                }
            }

            Tensor destination = InOut([batch, destinationTokens, .. token], before);
            Backend.CopyTokens(Input([batch, sourceTokens, .. token], source), sourceFirst, destination, destinationFirst, count,
                accumulate);
            Compare.SameBits($"{count} tokens of {destination.Shape}", destination.ToArray(), expected);
            EndCase();
        }
    }

    [Fact]
    public void Copy_IsOfEveryElement()
    {
        foreach (int count in (ReadOnlySpan<int>)[0, 1, 7, 64, 65, 1000])
        {
            float[] x = new TestData((ulong)count).Normal(count);
            Tensor copy = Output([count]);
            Backend.Copy(Input([count], x), copy);
            Compare.SameBits($"{count} elements", copy.ToArray(), x);
            EndCase();
        }
    }
}

public sealed class ManagedTokenTests() : TokenTests("managed");

public sealed class CpuTokenTests() : TokenTests("cpu");
