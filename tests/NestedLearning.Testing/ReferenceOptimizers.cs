namespace NestedLearning.Testing;

/// <summary>
/// The optimizers of docs/specification.md, section 3 in double, each step as its equation stands. W [rows, columns] is moved by
/// <see cref="Step"/>; g is the gradient and η the learning rate of that step.
/// </summary>
public abstract class ReferenceOptimizer(int rows, int columns, double[] w)
{
    /// <summary>What is learned.</summary>
    public double[] W { get; } = [.. w];

    /// <summary>The number of steps so far, the current one among them.</summary>
    protected int Count { get; private set; }

    protected int Rows => rows;

    protected int Columns => columns;

    /// <summary>One step.</summary>
    public void Step(double[] g, double rate)
    {
        Count++;
        Update(g, rate);
    }

    protected abstract void Update(double[] g, double rate);

    protected double[] Zeros() => new double[rows * columns];

    /// <summary>x ← a x + b y.</summary>
    protected static void Mix(double[] x, double a, double b, double[] y)
    {
        for (int i = 0; i < x.Length; i++)
            x[i] = a * x[i] + b * y[i];
    }

    /// <summary>W ← W − η (direction + λ W).</summary>
    protected void Descend(double rate, double decay, Func<int, double> direction)
    {
        for (int i = 0; i < W.Length; i++)
            W[i] -= rate * (direction(i) + decay * W[i]);
    }

    /// <summary>A⁻¹ of A [n, n] by Gauss and Jordan, with the largest pivot of each column.</summary>
    public static double[] Inverse(int n, double[] a)
    {
        double[][] m = [.. Enumerable.Range(0, n)
            .Select(i => (double[])[.. a.AsSpan(i * n, n), .. Enumerable.Range(0, n).Select(j => i == j ? 1.0 : 0)])];
        for (int c = 0; c < n; c++)
        {
            int pivot = Enumerable.Range(c, n - c).MaxBy(r => Math.Abs(m[r][c]));
            (m[c], m[pivot]) = (m[pivot], m[c]);
            double p = m[c][c];
            m[c] = Array.ConvertAll(m[c], x => x / p);
            for (int r = 0; r < n; r++)
            {
                double factor = m[r][c];
                for (int j = 0; r != c && j < 2 * n; j++)
                    m[r][j] -= factor * m[c][j];
            }
        }

        return [.. m.SelectMany(r => r[n..])];
    }
}

/// <summary>W ← W − η (g + λ W).</summary>
public sealed class ReferenceGradientDescent(int rows, int columns, double[] w, double decay = 0) : ReferenceOptimizer(rows, columns, w)
{
    protected override void Update(double[] g, double rate) => Descend(rate, decay, i => g[i]);
}

/// <summary>m ← μ m + write g; W ← W − η (m + λ W), or with Nesterov μ m + write g in m's place.</summary>
public sealed class ReferenceMomentum(int rows, int columns, double[] w, double mu, double write, bool nesterov = false, double decay = 0)
    : ReferenceOptimizer(rows, columns, w)
{
    private readonly double[] _m = new double[rows * columns];

    protected override void Update(double[] g, double rate)
    {
        Mix(_m, mu, write, g);
        Descend(rate, decay, i => nesterov ? mu * _m[i] + write * g[i] : _m[i]);
    }
}

/// <summary>v ← v + g²; W ← W − η (g/(√v + ε) + λ W).</summary>
public sealed class ReferenceAdaGrad(int rows, int columns, double[] w, double epsilon, double decay = 0)
    : ReferenceOptimizer(rows, columns, w)
{
    private readonly double[] _v = new double[rows * columns];

    protected override void Update(double[] g, double rate)
    {
        Mix(_v, 1, 1, Array.ConvertAll(g, x => x * x));
        Descend(rate, decay, i => g[i] / (Math.Sqrt(_v[i]) + epsilon));
    }
}

/// <summary>Adam or AdamW, by <see cref="ReferenceDense.Adam"/>.</summary>
public sealed class ReferenceAdam(int rows, int columns, double[] w, AdamSettings settings) : ReferenceOptimizer(rows, columns, w)
{
    private readonly double[] _m = new double[rows * columns];
    private readonly double[] _v = new double[rows * columns];

    protected override void Update(double[] g, double rate) =>
        ReferenceDense.Adam(W, g, _m, _v, settings with { LearningRate = (float)rate, Step = Count });
}

/// <summary>m ← α m − ε (m gᵀ) g/‖g‖² − η P φ(g); W ← W + m. P and φ are given as functions; ε = 0 is preconditioned momentum.</summary>
public sealed class ReferenceMatrixMomentum(
    int rows, int columns, double[] w, double alpha, double erase, Func<double[], double[]> precondition, Func<double[], double[]> features)
    : ReferenceOptimizer(rows, columns, w)
{
    private readonly double[] _m = new double[rows * columns];

    /// <summary>m.</summary>
    public double[] M => _m;

    protected override void Update(double[] g, double rate)
    {
        double[] erased = Zeros();
        double squares = g.Sum(x => x * x);
        if (erase > 0 && squares > 0)
        {
            double[] answers = ReferenceDense.Product(Rows, Rows, Columns, _m, false, g, true, null);
            erased = Array.ConvertAll(ReferenceDense.Product(Rows, Columns, Rows, answers, false, g, false, null), x =>
                erase * x / squares);
        }

        double[] written = precondition(features(g));
        for (int i = 0; i < _m.Length; i++)
            _m[i] = alpha * _m[i] - erased[i] - rate * written[i];
        Mix(W, 1, 1, _m);
    }
}

/// <summary>
/// The momentum as a deep memory M(x) = [x +] φ(x W2) W1 that is taught P k for each row k of g/s and then asked for all of
/// them; W ← W − η s M(g/s), s = ‖g‖_F/√rows.
/// </summary>
public sealed class ReferenceDeepMomentum(
    int rows, int columns, double[] w, double[] start, double decay, double innerRate, double erase, bool l2, bool residual, Func<double[],
    double[]> precondition)
    : ReferenceOptimizer(rows, columns, w)
{
    private readonly int _hidden = start.Length / columns;
    private readonly double[] _w1 = new double[start.Length];
    private readonly double[] _w2 = [.. start];

    protected override void Update(double[] g, double rate)
    {
        double s = Math.Sqrt(g.Sum(x => x * x) / Rows);
        if (s == 0)
            return;
        double[] keys = Array.ConvertAll(g, x => x / s), targets = precondition(keys);
        int chunk = Math.Min(Rows, 256);
        double theta = innerRate / chunk / _hidden, alpha = Math.Pow(decay, 1.0 / Rows);
        double[] c1 = [], c2 = [];
        for (int row = 0; row < Rows; row++)
        {
            if (row % chunk == 0)
                (c1, c2) = ([.. _w1], [.. _w2]);
            double[] k = keys[(row * Columns)..((row + 1) * Columns)], z = Times(k, c2, _hidden),
                h = Array.ConvertAll(z, x => ReferenceDense.Activate(Activation.Gelu, x));
            double[] answer = Times(h, c1, Columns), error = new double[Columns], slope = new double[_hidden];
            for (int j = 0; j < Columns; j++)
                error[j] = (l2 ? answer[j] + (residual ? k[j] : 0) : 0) - targets[row * Columns + j];
            for (int n = 0; n < _hidden; n++)
            {
                for (int j = 0; j < Columns; j++)
                    slope[n] += error[j] * c1[n * Columns + j];
                slope[n] *= ReferenceDense.ActivateDerivative(Activation.Gelu, z[n]);
            }

            Write(_w1, h, error);
            Write(_w2, k, slope);
        }

        for (int row = 0; row < Rows; row++)
        {
            double[] k = keys[(row * Columns)..((row + 1) * Columns)];
            double[] answer = Times(Array.ConvertAll(Times(k, _w2, _hidden), x => ReferenceDense.Activate(Activation.Gelu, x)), _w1,
                Columns);
            for (int j = 0; j < Columns; j++)
                W[row * Columns + j] -= rate * s * (answer[j] + (residual ? k[j] : 0));
        }

        // layer ← α layer − θ inputᵀ error − ε unitᵀ (unit layer), unit = input/‖input‖.
        void Write(double[] layer, double[] input, double[] error)
        {
            double squares = input.Sum(x => x * x);
            double[] answer = Times(input, layer, error.Length);
            for (int i = 0; i < layer.Length; i++)
            {
                double x = input[i / error.Length];
                layer[i] = alpha * layer[i] - theta * x * error[i % error.Length]
                    - (squares > 0 ? erase * x * answer[i % error.Length] / squares : 0);
            }
        }
    }

    private static double[] Times(double[] row, double[] matrix, int width) =>
        ReferenceDense.Product(1, width, row.Length, row, false, matrix, false, null);
}

/// <summary>v ← ρ v + (1 − ρ) g²; P g = g/(√v + ε).</summary>
public sealed class ReferenceDiagonalPreconditioner(double rho, double epsilon)
{
    private double[]? _v;

    public double[] Precondition(double[] g)
    {
        _v ??= new double[g.Length];
        double[] result = new double[g.Length];
        for (int i = 0; i < g.Length; i++)
        {
            _v[i] = rho * _v[i] + (1 - rho) * g[i] * g[i];
            result[i] = g[i] / (Math.Sqrt(_v[i]) + epsilon);
        }

        return result;
    }
}

/// <summary>H ← ρ H + (1 − ρ) g gᵀ over the shorter axis; P = (H + λ ‖H‖_F/√n I)⁻¹ every period.</summary>
public sealed class ReferenceMatrixPreconditioner(int rows, int columns, double rho, double ridge, int period)
{
    private readonly int _n = Math.Min(rows, columns);
    private double[] _h = new double[Math.Min(rows, columns) * Math.Min(rows, columns)];
    private double[] _p = [];
    private int _count;

    public double[] Precondition(double[] g)
    {
        bool tall = rows > columns;
        double[] square = ReferenceDense.Product(_n, _n, tall ? rows : columns, g, tall, g, !tall, null);
        _h = [.. _h.Zip(square, (h, s) => rho * h + (1 - rho) * s)];
        if (_count++ % period == 0)
        {
            double scale = Math.Sqrt(_h.Sum(h => h * h) / _n);
            double[] a = [.. _h];
            for (int i = 0; i < _n; i++)
                a[i * _n + i] += ridge * scale;
            _p = scale == 0 ? new double[a.Length] : ReferenceOptimizer.Inverse(_n, a);
        }

        return tall
            ? ReferenceDense.Product(rows, columns, columns, g, false, _p, false, null)
            : ReferenceDense.Product(rows, columns, rows, _p, false, g, false, null);
    }
}

/// <summary>m ← μ m + g; W ← W − η (s NS(m) + λ W), with Nesterov NS(μ m + g).</summary>
public sealed class ReferenceMuon(int rows, int columns, double[] w, double mu, bool nesterov, double scale, double decay, int steps = 5)
    : ReferenceOptimizer(rows, columns, w)
{
    private readonly double[] _m = new double[rows * columns];

    protected override void Update(double[] g, double rate)
    {
        Mix(_m, mu, 1, g);
        double[] read = nesterov ? [.. _m.Zip(g, (m, x) => mu * m + x)] : _m;
        double[] o = ReferenceDense.NewtonSchulz(Rows, Columns, read, steps);
        Descend(rate, decay, i => scale * o[i]);
    }
}

/// <summary>
/// NL's Algorithm 1, with the golden case's reading of it: sums, √v + ε, the slow momentum of whole periods that are past.
/// </summary>
public sealed class ReferenceM3(int rows, int columns, double[] w, double beta1, double beta2, double beta3, double slowWeight,
    double epsilon, int period, double decay = 0)
    : ReferenceOptimizer(rows, columns, w)
{
    private readonly List<double[]> _gradients = [];
    private readonly double[] _fast = new double[rows * columns];
    private readonly double[] _slow = new double[rows * columns];
    private readonly double[] _v = new double[rows * columns];

    protected override void Update(double[] g, double rate)
    {
        int past = _gradients.Count;
        if (past > 0 && past % period == 0)
        {
            foreach (double[] gradient in _gradients[^period..])
                Mix(_slow, 1, beta3, gradient);
        }

        _gradients.Add(g);
        Mix(_fast, 1, beta1, g);
        Mix(_v, 1, beta2, Array.ConvertAll(g, x => x * x));
        double[] o1 = ReferenceDense.NewtonSchulz(Rows, Columns, _fast, 5), o2 = ReferenceDense.NewtonSchulz(Rows, Columns, _slow, 5);
        Descend(rate, decay, i => (o1[i] + slowWeight * o2[i]) / (Math.Sqrt(_v[i]) + epsilon));
    }
}

/// <summary>Delta gradient descent for y = x W, token by token.</summary>
public static class ReferenceDeltaGradientDescent
{
    /// <summary>W [K, N] ← W − η' xᵀ (x W + dy), η' = η/(1 + η‖x‖²), for each row of x [T, K] and dy [T, N].</summary>
    public static void Commit(int inputs, int outputs, double[] w, double[] x, double[] dy, double rate)
    {
        for (int t = 0; t < x.Length / inputs; t++)
        {
            double[] key = x[(t * inputs)..((t + 1) * inputs)], error = dy[(t * outputs)..((t + 1) * outputs)];
            double step = rate / (1 + rate * key.Sum(e => e * e));
            double[] answer = ReferenceDense.Product(1, outputs, inputs, key, false, w, false, error);
            for (int i = 0; i < w.Length; i++)
                w[i] -= step * key[i / outputs] * answer[i % outputs];
        }
    }
}
