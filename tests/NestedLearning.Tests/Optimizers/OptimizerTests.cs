using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>The committed updates of docs/specification.md, sections 3 and 4 on every backend, against golden results.</summary>
public abstract class OptimizerTests(string backend) : BackendTests(backend)
{
    [Theory]
    [InlineData("adam", false)]
    [InlineData("adamw", true)]
    public void AdamCommit_GivesGoldenResults(string name, bool decoupled)
    {
        GoldenCase golden = GoldenCase.Load(name);
        golden.HasResults("m", "v", "w");
        Shape shape = golden.InputShape("w");
        float[] gradients = golden.Input("g");
        Tensor w = From(shape, golden.Input("w")), m = Zeros(shape), v = Zeros(shape), g = Unwritten(shape);
        for (int step = 1; step <= golden.InputShape("g")[0]; step++)
        {
            g.CopyFrom(gradients.AsSpan((step - 1) * shape.ElementCount, shape.ElementCount));
            AdamCommit.Apply(w, g, m, v, Settings(golden, decoupled, step));
        }

        Compare.Close("w", w, golden.Expected("w"), Tolerances.GoldenAdam);
        Compare.Close("m", m, golden.Expected("m"), Tolerances.GoldenAdam);
        Compare.Close("v", v, golden.Expected("v"), Tolerances.GoldenAdam);
    }

    [Theory]
    [InlineData("adam", false)]
    [InlineData("adamw", true)]
    public void AdamLevel_GivesGoldenResults(string name, bool decoupled)
    {
        // The same through a level: every step's gradient is an error term, and every step commits.
        GoldenCase golden = GoldenCase.Load(name);
        float[] gradients = golden.Input("g");
        var parameter = new Parameter("w", golden.Input(Device, "w"));
        AdamSettings settings = Settings(golden, decoupled, 1);
        var adam = new Adam
        {
            Beta1 = settings.Beta1,
            Beta2 = settings.Beta2,
            Epsilon = settings.Epsilon,
            WeightDecay = settings.WeightDecay,
            Decoupled = decoupled,
        };
        using var levels = new LevelSystem(new Level("w", 1, settings.LearningRate, adam, [parameter]));
        for (int step = 0; step < golden.InputShape("g")[0]; step++)
        {
            parameter.AddError(From(golden.InputShape("w"), gradients.AsSpan(step * parameter.Value.Count, parameter.Value.Count)));
            levels.Advance(1);
        }

        golden.Check("w", parameter.Value);
        foreach ((string memory, Tensor value) in levels.Levels[0].Memories[0].State)
            golden.Check(memory, value);
    }

    [Fact]
    public void Commit_GivesGoldenResults()
    {
        // NL 71 as it stands: η_t weighs each error term, and the commit subtracts their sum.
        GoldenCase golden = GoldenCase.Load("commit");
        golden.HasResults("theta.0", "theta.1", "theta.2");
        int[] chunks = [.. golden.Text("chunks").Split(',').Select(int.Parse)];
        float[] eta = golden.Input("eta");
        int time = golden.InputShape("eta")[0];
        Parameter[] parameters = [.. chunks.Select((_, level) => new Parameter($"theta.{level}", golden.Input(Device, $"theta.{level}")))];
        using var levels = new LevelSystem(chunks.Select((chunk, level) =>
            new Level($"{level}", chunk, 1, new GradientDescent(), [parameters[level]])));
        float[][] seen = [.. parameters.Select(p => new float[time * p.Value.Count])];
        for (int t = 0; t < time; t++)
        {
            for (int level = 0; level < parameters.Length; level++)
            {
                Tensor value = parameters[level].Value;
                float[] before = value.ToArray();
                using Tensor error = Device.From(value.Shape, golden.Input($"err.{level}").AsSpan(t * value.Count, value.Count));
                parameters[level].AddError(error, eta[t * chunks.Length + level]);
                Compare.SameBits("theta before its commit", value.ToArray(), before);
            }

            float[][] held = [.. parameters.Select(p => p.Value.ToArray())];
            levels.Advance(1);
            for (int level = 0; level < parameters.Length; level++)
            {
                Tensor value = parameters[level].Value;
                value.CopyTo(seen[level].AsSpan(t * value.Count, value.Count));
                if ((t + 1) % chunks[level] != 0)
                    Compare.SameBits($"theta.{level} where nothing commits", value.ToArray(), held[level]);
            }
        }

        for (int level = 0; level < parameters.Length; level++)
            golden.Check($"theta.{level}", seen[level]);
    }

    private static AdamSettings Settings(GoldenCase golden, bool decoupled, long step) => new(
        golden.Number("lr"), golden.PreciseNumber("beta1"), golden.PreciseNumber("beta2"), golden.Number("eps"),
        golden.Number("weight_decay"), decoupled, step, 1);
}

public sealed class ManagedOptimizerTests() : OptimizerTests("managed");

public sealed class CpuOptimizerTests() : OptimizerTests("cpu");
