using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests;

/// <summary>Every model's gradient to every parameter, over several segments and chunks of a batch of two.</summary>
public abstract class GradientTests(string backend) : BackendTests(backend)
{
    public static TheoryData<string> Models => StreamingTests.Models;

    [Theory]
    [MemberData(nameof(Models))]
    public void Gradient_MatchesFiniteDifferences_OfEveryParameter(string name)
    {
        ModelConfiguration tiny = StreamingTests.Small(name) with
        {
            Vocabulary = 5,
            Dim = 6,
            Blocks = 1,
            MemoryChunk = 3,
            AttentionSegment = 3,
            AlphaBias = 3,
            Levels = [new("only", 16, 1e-3f, 5)],
        };
        using var model = new SequenceModel(Device, tiny);
        using IndexTensor tokens = Device.FromIndices([2, 7], [0, 1, 2, 3, 4, 0, 1, 4, 3, 2, 2, 1, 0, 0]);
        using IndexTensor targets = Device.FromIndices([2, 7], [1, 2, 3, 4, 0, 1, 2, 3, 2, 2, 1, 0, 0, 4]);
        double Loss(bool backward)
        {
            using SequenceState state = model.NewState(2);
            using var tape = new Tape(Device, backward);
            (Variable logits, SequenceState next) = model.Forward(tape, tokens, state);
            next.Dispose();
            Variable losses = tape.CrossEntropy(logits, targets);
            if (backward)
            {
                using Tensor seed = Device.Full(losses.Shape, 1);
                tape.Backward(losses, seed);
            }

            return losses.Value.ToArray().Sum(l => (double)l);
        }

        Loss(backward: true);
        foreach (Parameter parameter in model.Levels.Levels[0].Parameters)
        {
            float[] error = parameter.Error.ToArray();
            double[] expected = new double[Math.Min(24, error.Length)], actual = new double[expected.Length];
            for (int n = 0; n < expected.Length; n++)
            {
                int i = (int)((long)n * error.Length / expected.Length);
                const float Step = 2e-3f;
                float kept = parameter.Value.Span[i];
                double At(float value)
                {
                    parameter.Value.Span[i] = value;
                    return Loss(backward: false);
                }

                expected[n] = (8 * (At(kept + Step) - At(kept - Step)) - (At(kept + 2 * Step) - At(kept - 2 * Step))) / (12 * Step);
                parameter.Value.Span[i] = kept;
                actual[n] = error[i];
            }

            // float32 forward passes: a loss of about 20 to six digits, over steps of 2e-3.
            double scale = Math.Max(0.05, expected.Max(Math.Abs));
            for (int n = 0; n < expected.Length; n++)
                Assert.True(Math.Abs(actual[n] - expected[n]) < 1e-2 * scale, $"{parameter.Name}: {actual[n]}, expected {expected[n]}.");
        }
    }
}

public sealed class ManagedGradientTests() : GradientTests("managed");

public sealed class CpuGradientTests() : GradientTests("cpu");
