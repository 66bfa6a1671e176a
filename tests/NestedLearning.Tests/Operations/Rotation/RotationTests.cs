using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>Rotary position embedding.</summary>
public abstract class RotationTests(string backend) : DenseTests(backend)
{
    [Fact]
    public void Rotate_MatchesReference()
    {
        // One element, odd widths, widths that no vector divides, more than a piece of tokens.
        foreach (int[] shape in (int[][])[[1, 1, 1, 1], [2, 3, 2, 4], [1, 5, 3, 7], [3, 2, 1, 33], [2, 9, 2, 64], [1, 40, 9, 50]])
        {
            (int time, int heads, int width, int half) = (shape[1], shape[2], shape[3], shape[3] / 2);
            var data = new TestData((ulong)width);
            float[] x = data.Normal(new Shape(shape).ElementCount), table = data.Normal(time * 2 * half);
            foreach (bool back in (ReadOnlySpan<bool>)[false, true])
            {
                double[] expected = Array.ConvertAll(x, e => (double)e);
                for (int row = 0; row < x.Length / width; row++)
                {
                    for (int i = 0; i < half; i++)
                    {
                        int first = row * width + i, angle = row / heads % time * 2 * half + i;
                        double c = table[angle], s = back ? -table[angle + half] : table[angle + half], a = x[first], b = x[first + half];
                        (expected[first], expected[first + half]) = (a * c - b * s, b * c + a * s);
                    }
                }

                Tensor turns = Input([time, 2 * half], table), y = Output(new Shape(shape)), over = InOut(new Shape(shape), x);
                Rotation.Apply(Input(new Shape(shape), x), turns, back, y);
                Rotation.Apply(over, turns, back, over);
                Compare.Close($"y of [{string.Join(", ", shape)}]{(back ? ", back" : "")}", y, expected, Tolerances.Elementwise.Forward);
                Compare.SameBits("y over x", over.ToArray(), y.ToArray());
                EndCase();
            }
        }
    }

    [Fact]
    public void Rotate_RefusesATableOfOtherTokens()
    {
        Tensor x = Input([1, 3, 2, 4], new float[24]), y = Output([1, 3, 2, 4]);
        ArgumentException e = Assert.Throws<ArgumentException>(() => Rotation.Apply(x, Input([2, 4], new float[8]), back: false, y));
        Assert.Contains("[2, 4]", e.Message, StringComparison.Ordinal);
        Assert.Contains("[3, 4]", e.Message, StringComparison.Ordinal);
    }
}

public sealed class ManagedRotationTests() : RotationTests("managed");

public sealed class CpuRotationTests() : RotationTests("cpu");
