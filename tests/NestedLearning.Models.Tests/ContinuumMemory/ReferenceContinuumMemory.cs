using NestedLearning.Testing;

namespace NestedLearning.Models.Tests;

/// <summary>
/// A continuum memory in double, a token of a sequence at a time, as docs/specification.md, section 4 says it: RMS-normed GELU MLPs, their
/// gradients by hand, plain or Adam commits. It begins at the values of a library memory's parameters and uses their names.
/// Nothing is shared with the library.
/// </summary>
public sealed class ReferenceContinuumMemory
{
    private const double Epsilon = 1e-6;

    private readonly int _dim;
    private readonly int[] _chunks;
    private readonly double[] _rates;
    private readonly bool[] _adam;
    private readonly ContinuumMemoryConfiguration _configuration;
    private readonly List<string>[] _owned;
    private readonly Dictionary<string, (double[] M, double[] V, int Commits)> _moments = [];
    private readonly long[] _pending;
    private long _step;

    public ReferenceContinuumMemory(ContinuumMemory memory)
    {
        _configuration = memory.Configuration;
        _dim = _configuration.Dim;
        _chunks = [.. _configuration.Levels.Select(l => l.Chunk)];
        _rates = [.. _configuration.Levels.Select(l => (double)l.LearningRate)];
        _adam = [.. _configuration.Levels.Select(l => l.Optimizer is not GradientDescent)];
        _owned = [.. memory.Levels.Levels.Select(l => l.Parameters.Select(p => p.Name).ToList())];
        _pending = new long[_chunks.Length];
        foreach (Parameter parameter in memory.Levels.Levels.SelectMany(l => l.Parameters))
        {
            Values[parameter.Name] = Compare.ToDouble(parameter.Value.ToArray());
            Errors[parameter.Name] = new double[parameter.Value.Count];
        }
    }

    public Dictionary<string, double[]> Values { get; } = [];

    public Dictionary<string, double[]> Errors { get; } = [];

    private ContinuumSettings Settings => _configuration.Settings;

    private int[] Order => [.. Settings.SlowestFirst ? Enumerable.Range(0, _chunks.Length).Reverse() : Enumerable.Range(0, _chunks.Length)];

    /// <summary>y [D] of a token, nothing learned.</summary>
    public double[] Forward(double[] x) => Run(x, out _, out _);

    /// <summary>Adds one token's gradients of a task loss, given dL/dy; returns dL/dx.</summary>
    public double[] AddTaskGradient(double[] x, double[] dy)
    {
        Run(x, out Pass[] passes, out double[] weights);
        int[] order = Order;
        bool independent = Settings.Variant == ContinuumVariant.Independent;
        double[][] dOutput = [.. passes.Select(_ => new double[_dim])];
        double[] dx = new double[_dim];
        if (independent)
        {
            for (int level = 0; level < passes.Length; level++)
                dOutput[level] = Scale(dy, weights[level]);
            AddSumGradient([.. passes.Select(p => p.Output)], weights, dy);
        }
        else
        {
            dOutput[order[^1]] = (double[])dy.Clone();
        }

        for (int i = order.Length - 1; i >= 0; i--)
        {
            (double[] through, double[] written) = AddBlockGradient(order[i], passes[order[i]], i == 0 ? null : order[i - 1],
                dOutput[order[i]]);
            double[] dInput = independent || i == 0 ? dx : dOutput[order[i - 1]];
            Add(dInput, dOutput[order[i]]);
            if (!Settings.Backpropagates)
                continue;
            Add(dInput, through);
            if (i > 0)
                Add(dOutput[order[i - 1]], written);
        }

        return dx;
    }

    /// <summary>Adds one token's gradients of every level's own regression on the target.</summary>
    public void AddRegressionGradient(double[] x, double[] target)
    {
        double[] y = Run(x, out Pass[] passes, out double[] weights);
        int[] order = Order;
        for (int i = 0; i < order.Length; i++)
            AddBlockGradient(order[i], passes[order[i]], i == 0 ? null : order[i - 1], Subtract(passes[order[i]].Output, target));
        if (Settings.Variant == ContinuumVariant.Independent)
            AddSumGradient([.. passes.Select(p => p.Output)], weights, Subtract(y, target));
    }

    /// <summary>The clock moves by one token: NL 71, passing on of errors to starts, commits, returns.</summary>
    public void Advance()
    {
        _step++;
        for (int level = 0; level < _chunks.Length; level++)
            _pending[level]++;
        int[] due = [.. Enumerable.Range(0, _chunks.Length).Where(l => _step % _chunks[l] == 0)];
        Commit(due);
        for (int level = 0; level < _chunks.Length; level++)
        {
            if (Owner(level) is not { } owner)
                continue;
            int chunks = (int)Math.Ceiling((double)_chunks[owner] / _chunks[level]);
            if (_step % _chunks[level] == 0 && _step / _chunks[level] % chunks == 0)
                Return(level);
        }
    }

    /// <summary>Commits what waits.</summary>
    public void Flush() => Commit([.. Enumerable.Range(0, _chunks.Length).Where(l => _pending[l] > 0)]);

    private void Commit(int[] due)
    {
        foreach (int level in due.Where(l => Owner(l) is not null))
        {
            foreach (string name in Block(level))
                Add(Errors[name + ".start"], Errors[name]);
        }

        foreach (int level in due)
        {
            double factor = _configuration.Reduction == ErrorReduction.Mean ? 1.0 / _pending[level] : 1;
            foreach (string name in _owned[level])
            {
                double[] value = Values[name], error = Errors[name];
                if (_adam[level])
                    AdamStep(name, value, Scale(error, factor), _rates[level]);
                else
                    Add(value, Scale(error, -_rates[level] * factor));
                Array.Clear(error);
            }

            _pending[level] = 0;
        }
    }

    private void Return(int level)
    {
        foreach (string name in Block(level))
        {
            Values[name + ".start"].CopyTo(Values[name], 0);
            Array.Clear(Errors[name]);
            if (Settings.ResetsOptimizers)
                _moments.Remove(name);
        }
    }

    private void AdamStep(string name, double[] value, double[] gradient, double rate)
    {
        if (!_moments.TryGetValue(name, out (double[] M, double[] V, int Commits) state))
            state = (new double[value.Length], new double[value.Length], 0);
        int n = state.Commits + 1;
        for (int i = 0; i < value.Length; i++)
        {
            state.M[i] = 0.9 * state.M[i] + 0.1 * gradient[i];
            state.V[i] = 0.999 * state.V[i] + 0.001 * gradient[i] * gradient[i];
            value[i] -= rate * (state.M[i] / (1 - Math.Pow(0.9, n))) / (Math.Sqrt(state.V[i] / (1 - Math.Pow(0.999, n))) + 1e-8);
        }

        _moments[name] = (state.M, state.V, n);
    }

    // NL 72: the next slower level; NL 73, 74: the slowest.
    private int? Owner(int level) => Settings.Variant switch
    {
        _ when level == _chunks.Length - 1 => null,
        ContinuumVariant.Chained => null,
        ContinuumVariant.Nested => level + 1,
        _ => _chunks.Length - 1,
    };

    private static string[] Block(int level) =>
        [$"memory.{level}.norm", $"memory.{level}.in", $"memory.{level}.in_bias", $"memory.{level}.out"];

    private double[] Run(double[] x, out Pass[] passes, out double[] weights)
    {
        bool independent = Settings.Variant == ContinuumVariant.Independent;
        passes = new Pass[_chunks.Length];
        double[]? previous = null;
        int? writer = null;
        foreach (int level in Order)
        {
            passes[level] = RunBlock(level, independent || previous is null ? x : previous, writer, previous);
            previous = passes[level].Output;
            writer = level;
        }

        weights = [];
        if (!independent)
            return previous!;
        double[] powers = [.. Values["memory.weights"].Select(Math.Exp)];
        weights = Scale(powers, 1 / powers.Sum());
        double[] y = new double[_dim];
        for (int level = 0; level < passes.Length; level++)
            Add(y, Scale(passes[level].Output, weights[level]));
        return y;
    }

    private Pass RunBlock(int level, double[] x, int? writer, double[]? previous)
    {
        double[] gain = Values[$"memory.{level}.norm"], weightIn = Values[$"memory.{level}.in"], bias = Values[$"memory.{level}.in_bias"],
            weightOut = Values[$"memory.{level}.out"];
        int hidden = bias.Length, rank = Settings.GeneratorRank;
        double inverse = 1 / Math.Sqrt(x.Sum(e => e * e) / _dim + Epsilon);
        double[] normed = new double[_dim], generated = new double[_dim], middle = new double[rank];
        if (writer is { } w && rank > 0)
        {
            double[] down = Values[$"memory.{w}.generator_down"], up = Values[$"memory.{w}.generator_up"];
            for (int r = 0; r < rank; r++)
            {
                for (int d = 0; d < _dim; d++)
                    middle[r] += previous![d] * down[d * rank + r];
                for (int d = 0; d < _dim; d++)
                    generated[d] += middle[r] * up[r * _dim + d];
            }
        }

        double[] u = new double[_dim], z = (double[])bias.Clone(), y = (double[])x.Clone();
        for (int d = 0; d < _dim; d++)
        {
            normed[d] = gain[d] * x[d] * inverse;
            u[d] = normed[d] * (1 + generated[d]);
            for (int n = 0; n < hidden; n++)
                z[n] += u[d] * weightIn[d * hidden + n];
        }

        for (int n = 0; n < hidden; n++)
        {
            double h = z[n] * Phi(z[n]);
            for (int d = 0; d < _dim; d++)
                y[d] += h * weightOut[n * _dim + d];
        }

        return new Pass(x, inverse, normed, generated, middle, previous, u, z, y);
    }

    // Gradients of x + f(x): the parameters' are added; returned are those through f to x and through the generator to the writer's output.
    private (double[] Through, double[] Written) AddBlockGradient(int level, Pass pass, int? writer, double[] dOutput)
    {
        double[] gain = Values[$"memory.{level}.norm"], weightIn = Values[$"memory.{level}.in"], weightOut = Values[$"memory.{level}.out"];
        double[] dGain = Errors[$"memory.{level}.norm"], dIn = Errors[$"memory.{level}.in"], dBias = Errors[$"memory.{level}.in_bias"],
            dOut = Errors[$"memory.{level}.out"];
        int hidden = pass.Z.Length, rank = Settings.GeneratorRank;
        double[] du = new double[_dim];
        for (int n = 0; n < hidden; n++)
        {
            double z = pass.Z[n], dh = 0;
            for (int d = 0; d < _dim; d++)
            {
                dh += dOutput[d] * weightOut[n * _dim + d];
                dOut[n * _dim + d] += z * Phi(z) * dOutput[d];
            }

            double dz = dh * (Phi(z) + z * Math.Exp(-z * z / 2) / Math.Sqrt(2 * Math.PI));
            dBias[n] += dz;
            for (int d = 0; d < _dim; d++)
            {
                dIn[d * hidden + n] += pass.U[d] * dz;
                du[d] += weightIn[d * hidden + n] * dz;
            }
        }

        double[] written = new double[_dim];
        if (writer is { } w && rank > 0)
        {
            double[] down = Values[$"memory.{w}.generator_down"], up = Values[$"memory.{w}.generator_up"];
            double[] dDown = Errors[$"memory.{w}.generator_down"], dUp = Errors[$"memory.{w}.generator_up"];
            for (int r = 0; r < rank; r++)
            {
                double dMiddle = 0;
                for (int d = 0; d < _dim; d++)
                {
                    double dGenerated = du[d] * pass.Normed[d];
                    dUp[r * _dim + d] += pass.Middle[r] * dGenerated;
                    dMiddle += dGenerated * up[r * _dim + d];
                }

                for (int d = 0; d < _dim; d++)
                {
                    dDown[d * rank + r] += pass.Previous![d] * dMiddle;
                    written[d] += dMiddle * down[d * rank + r];
                }
            }
        }

        double[] through = new double[_dim];
        double along = 0;
        for (int d = 0; d < _dim; d++)
        {
            double dNormed = du[d] * (1 + pass.Generated[d]);
            dGain[d] += dNormed * pass.X[d] * pass.Inverse;
            through[d] = dNormed * gain[d] * pass.Inverse;
            along += dNormed * gain[d] * pass.X[d];
        }

        for (int d = 0; d < _dim; d++)
            through[d] -= along * pass.X[d] * Math.Pow(pass.Inverse, 3) / _dim;
        return (through, written);
    }

    private void AddSumGradient(double[][] outputs, double[] weights, double[] dy)
    {
        double[] dWeight = [.. outputs.Select(o => FiniteDifferences.Dot(o, dy))];
        double mean = FiniteDifferences.Dot(weights, dWeight);
        for (int level = 0; level < weights.Length; level++)
            Errors["memory.weights"][level] += weights[level] * (dWeight[level] - mean);
    }

    // The normal distribution function, by its series about 0: arguments here are of order one.
    private static double Phi(double x)
    {
        double term = x, sum = x;
        for (int n = 1; n < 200 && Math.Abs(term) > 1e-18; n++)
        {
            term *= x * x / (2 * n + 1);
            sum += term;
        }

        return 0.5 + sum * Math.Exp(-x * x / 2) / Math.Sqrt(2 * Math.PI);
    }

    private static void Add(double[] sum, double[] term)
    {
        for (int i = 0; i < sum.Length; i++)
            sum[i] += term[i];
    }

    private static double[] Scale(double[] x, double factor) => Array.ConvertAll(x, e => factor * e);

    private static double[] Subtract(double[] x, double[] y) => [.. x.Zip(y, (a, b) => a - b)];

    private sealed record Pass(
        double[] X, double Inverse, double[] Normed, double[] Generated, double[] Middle, double[]? Previous, double[] U, double[] Z,
        double[] Output);
}
