namespace NestedLearning.Testing;

/// <summary>
/// docs/specification.md, section 2, token by token in double. Each layer is a memory of section 1 with its input made unit length as key:
/// <code>
/// z = k W2_c    h = φ(z)    e = k + h W1_c − v  (L2; without k where there is no residual)  or  −v  (dot product)
/// layer 1: key ĥ = h / r₁, u = −θ r₁ e                    r₁ = √(‖h‖² + 10⁻¹²)
/// layer 2: key k̂ = k / r₂, u = −θ r₂ (e W1_cᵀ) ∘ φ'(z)    r₂ = √(‖k‖² + 10⁻¹²)
/// w = u − ε key W    P ← μ P + keyᵀ w    W ← α W + P
/// o = q + φ(q W2) W1
/// </code>
/// </summary>
public static class ReferenceDeepMemory
{
    public static DeepMemoryResult Forward(DeepMemoryCase c)
    {
        double[] o = new double[c.TokenShape.ElementCount];
        DeepMemoryState final = Zeros(c);
        int chunks = c.Settings.Chunks(c.Time), size = c.Dim * c.Hidden, all = c.Batch * c.Heads * chunks * size;
        double[] savedW1 = new double[all], savedW2 = new double[all], savedP1 = new double[all], savedP2 = new double[all];
        for (int head = 0; head < c.Batch * c.Heads; head++)
        {
            var run = new Head(c, head);
            for (int t = 0; t < c.Time; t++)
                run.Read(t, o);
            Put(run.Layer1.W[c.Time], final.W1, head);
            Put(run.Layer2.W[c.Time], final.W2, head);
            Put(run.Layer1.P[c.Time], final.P1, head);
            Put(run.Layer2.P[c.Time], final.P2, head);
            (double[] start1, double[] start2) = run.Start(c.Time);
            Put(start1, final.ChunkStart1, head);
            Put(start2, final.ChunkStart2, head);
            for (int chunk = 0; chunk < chunks; chunk++)
            {
                int t = Math.Max(0, chunk * c.Settings.Chunk - c.Settings.Phase), at = head * chunks + chunk;
                Put(run.Layer1.W[t], savedW1, at);
                Put(run.Layer2.W[t], savedW2, at);
                Put(run.Layer1.P[t], savedP1, at);
                Put(run.Layer2.P[t], savedP2, at);
            }
        }

        return new DeepMemoryResult(o, final, savedW1, savedW2, savedP1, savedP2);
    }

    /// <summary>
    /// In reverse over tokens. What flows into the frozen weights is gathered over the chunk and joins the weights' own
    /// gradient where t reaches the chunk's start, or is that of the given chunk start.
    /// </summary>
    public static DeepMemoryInputGradients Backward(DeepMemoryCase c, double[] dOutput, DeepMemoryState upstream)
    {
        double[] dq = new double[c.TokenShape.ElementCount], dk = new double[dq.Length], dv = new double[dq.Length];
        int gates = c.GateShape.ElementCount;
        double[] dLogAlpha = new double[gates], dTheta = new double[gates], dErase = new double[gates], dMu = new double[gates];
        DeepMemoryState initial = Zeros(c);
        for (int head = 0; head < c.Batch * c.Heads; head++)
        {
            var run = new Head(c, head);
            var d1 = new LayerGradient(Part(c, upstream.W1, head), Part(c, upstream.P1, head), Part(c, upstream.ChunkStart1, head));
            var d2 = new LayerGradient(Part(c, upstream.W2, head), Part(c, upstream.P2, head), Part(c, upstream.ChunkStart2, head));
            for (int t = c.Time; t >= 0; t--)
            {
                if (run.StartsChunk(t))
                {
                    d1.JoinStart();
                    d2.JoinStart();
                }

                if (t == 0)
                    break;
                run.TokenBackward(t - 1, dOutput, d1, d2, dq, dk, dv, dLogAlpha, dTheta, dErase, dMu);
            }

            Put(d1.W, initial.W1, head);
            Put(d2.W, initial.W2, head);
            Put(d1.P, initial.P1, head);
            Put(d2.P, initial.P2, head);
            Put(d1.Start, initial.ChunkStart1, head);
            Put(d2.Start, initial.ChunkStart2, head);
        }

        return new DeepMemoryInputGradients(dq, dk, dv, dLogAlpha, dTheta, dErase, dMu, initial);
    }

    private static DeepMemoryState Zeros(DeepMemoryCase c)
    {
        int size = c.Shape1.ElementCount;
        return new DeepMemoryState(new double[size], new double[size], new double[size], new double[size], new double[size],
            new double[size]);
    }

    private static void Put(double[] state, double[] all, int index) => state.CopyTo(all, index * state.Length);

    private static double[] Part(DeepMemoryCase c, double[] all, int index) =>
        all.AsSpan(index * c.Dim * c.Hidden, c.Dim * c.Hidden).ToArray();

    private static double Gelu(double x) => x * ReferenceDense.NormalCumulative(x);

    private static double GeluSlope(double x) => ReferenceDense.NormalCumulative(x) + x * Density(x);

    private static double GeluCurvature(double x) => (2 - x * x) * Density(x);

    private static double Density(double x) => Math.Exp(-x * x / 2) / Math.Sqrt(2 * Math.PI);

    private static double Norm(double[] x)
    {
        const double Epsilon = DeepMemorySettings.NormEpsilon;
        return Math.Sqrt(FiniteDifferences.Dot(x, x) + Epsilon * Epsilon);
    }

    private static double[] Scale(double factor, double[] x) => Array.ConvertAll(x, e => factor * e);

    private static double[] Multiply(double[] x, double[] y) => [.. x.Zip(y, (a, b) => a * b)];

    private static void Add(double factor, double[] x, Span<double> sum)
    {
        for (int i = 0; i < x.Length; i++)
            sum[i] += factor * x[i];
    }

    // x M and y Mᵀ for M [rows, columns].
    private static double[] Times(double[] x, double[] m)
    {
        int columns = m.Length / x.Length;
        double[] y = new double[columns];
        for (int i = 0; i < x.Length; i++)
        {
            for (int j = 0; j < columns; j++)
                y[j] += x[i] * m[i * columns + j];
        }

        return y;
    }

    private static double[] TimesTransposed(double[] y, double[] m)
    {
        double[] x = new double[m.Length / y.Length];
        for (int i = 0; i < x.Length; i++)
            x[i] = FiniteDifferences.Dot(y, m.AsSpan(i * y.Length, y.Length));
        return x;
    }

    // M += xᵀ y.
    private static void AddOuter(double[] x, double[] y, double[] m)
    {
        for (int i = 0; i < x.Length; i++)
            Add(x[i], y, m.AsSpan(i * y.Length));
    }

    /// <summary>A layer's weights and momenta before each token, and after the last.</summary>
    private sealed class Layer
    {
        public Layer(double[] w, double[] p)
        {
            W.Add(w);
            P.Add(p);
        }

        public List<double[]> W { get; } = [];

        public List<double[]> P { get; } = [];

        public void Write(double[] key, double[] u, double alpha, double erase, double mu)
        {
            double[] w = (double[])u.Clone();
            Add(-erase, Times(key, W[^1]), w);
            double[] p = Scale(mu, P[^1]);
            AddOuter(key, w, p);
            double[] next = Scale(alpha, W[^1]);
            Add(1, p, next);
            W.Add(next);
            P.Add(p);
        }
    }

    /// <summary>The gradients of a layer's weights, momentum and frozen weights.</summary>
    private sealed class LayerGradient(double[] w, double[] p, double[] start)
    {
        public double[] W { get; } = w;

        public double[] P { get; } = p;

        public double[] Start { get; } = start;

        public void JoinStart()
        {
            Add(1, Start, W);
            Array.Clear(Start);
        }
    }

    /// <summary>The token's quantities that are made with the frozen weights.</summary>
    private sealed class Token
    {
        public Token(DeepMemoryCase c, int row, double[] start1, double[] start2)
        {
            Q = Row(c.Q);
            K = Row(c.K);
            Theta = c.Theta?[row] ?? 1;
            Alpha = Math.Exp(c.LogAlpha?[row] ?? 0);
            Erase = c.Erase?[row] ?? 0;
            Mu = c.Mu?[row] ?? 0;
            Z = Times(K, start2);
            H = Array.ConvertAll(Z, Gelu);
            E = Scale(-1, Row(c.V));
            if (c.Settings.Objective == MemoryObjective.L2)
            {
                Add(1, Times(H, start1), E);
                if (c.Settings.Residual)
                    Add(1, K, E);
            }

            Back = TimesTransposed(E, start1);
            Step2 = Multiply(Back, Array.ConvertAll(Z, GeluSlope));
            Norm1 = Norm(H);
            Norm2 = Norm(K);
            Key1 = Scale(1 / Norm1, H);
            Key2 = Scale(1 / Norm2, K);

            double[] Row(double[] all) => all.AsSpan(row * c.Dim, c.Dim).ToArray();
        }

        public double[] Q { get; }

        public double[] K { get; }

        public double Theta { get; }

        public double Alpha { get; }

        public double Erase { get; }

        public double Mu { get; }

        public double[] Z { get; }

        public double[] H { get; }

        public double[] E { get; }

        /// <summary>e W1_cᵀ, and that times φ'(z).</summary>
        public double[] Back { get; }

        public double[] Step2 { get; }

        public double Norm1 { get; }

        public double Norm2 { get; }

        public double[] Key1 { get; }

        public double[] Key2 { get; }
    }

    /// <summary>One head's whole run.</summary>
    private sealed class Head
    {
        private readonly DeepMemoryCase _c;
        private readonly int _head;

        public Head(DeepMemoryCase c, int head)
        {
            _c = c;
            _head = head;
            double[] zero = new double[c.Dim * c.Hidden];
            Layer1 = new Layer(Part(c, c.W1, head), c.P1 is null ? zero : Part(c, c.P1, head));
            Layer2 = new Layer(Part(c, c.W2, head), c.P2 is null ? zero : Part(c, c.P2, head));
            for (int t = 0; t < c.Time; t++)
            {
                Token x = TokenAt(t);
                Layer1.Write(x.Key1, Scale(-x.Theta * x.Norm1, x.E), x.Alpha, x.Erase, x.Mu);
                Layer2.Write(x.Key2, Scale(-x.Theta * x.Norm2, x.Step2), x.Alpha, x.Erase, x.Mu);
            }
        }

        public Layer Layer1 { get; }

        public Layer Layer2 { get; }

        public bool StartsChunk(int t) => (t + _c.Settings.Phase) % _c.Settings.Chunk == 0;

        /// <summary>The weights at the start of a token's chunk.</summary>
        public (double[] W1, double[] W2) Start(int t)
        {
            int start = t - (t + _c.Settings.Phase) % _c.Settings.Chunk;
            return start < 0 ? (Part(_c, _c.ChunkStart1!, _head), Part(_c, _c.ChunkStart2!, _head)) : (Layer1.W[start], Layer2.W[start]);
        }

        public void Read(int t, double[] o)
        {
            (double[] w1, double[] w2) = ReadWeights(t);
            Token x = TokenAt(t);
            Span<double> to = o.AsSpan(Row(t) * _c.Dim, _c.Dim);
            Add(1, Times(Array.ConvertAll(Times(x.Q, w2), Gelu), w1), to);
            if (_c.Settings.Residual)
                Add(1, x.Q, to);
        }

        public void TokenBackward(
            int t, double[] dOutput, LayerGradient d1, LayerGradient d2,
            double[] dq, double[] dk, double[] dv, double[] dLogAlpha, double[] dTheta, double[] dErase, double[] dMu)
        {
            int row = Row(t), at = row * _c.Dim;
            Token x = TokenAt(t);
            (double[] start1, double[] start2) = Start(t);
            double[] dO = dOutput.AsSpan(at, _c.Dim).ToArray();
            if (_c.Settings.Read == ScanRead.After)
                ReadBackward(t, x, dO, d1.W, d2.W, dq.AsSpan(at));
            if (_c.Settings.Read == ScanRead.ChunkStart)
                ReadBackward(t, x, dO, d1.Start, d2.Start, dq.AsSpan(at));

            (double[] dKey1, double[] du1) = WriteBackward(Layer1, t, x, x.Key1, Scale(-x.Theta * x.Norm1, x.E), d1, row, dLogAlpha, dErase,
                dMu);
            (double[] dKey2, double[] du2) = WriteBackward(Layer2, t, x, x.Key2, Scale(-x.Theta * x.Norm2, x.Step2), d2, row, dLogAlpha,
                dErase, dMu);
            double along1 = FiniteDifferences.Dot(du1, x.E), along2 = FiniteDifferences.Dot(du2, x.Step2);
            dTheta[row] -= x.Norm1 * along1 + x.Norm2 * along2;

            // u₂ = −θ r₂ (e W1_cᵀ) ∘ φ'(z)
            double[] dStep = Scale(-x.Theta * x.Norm2, du2);
            double[] dBack = Multiply(dStep, Array.ConvertAll(x.Z, GeluSlope));
            double[] dz = Multiply(Multiply(dStep, x.Back), Array.ConvertAll(x.Z, GeluCurvature));
            double[] dE = Times(dBack, start1);
            AddOuter(dBack, x.E, d1.Start);

            // e = [k + h W1_c] − v, and u₁ = −θ r₁ e
            Add(-x.Theta * x.Norm1, du1, dE);
            Add(-1, dE, dv.AsSpan(at));
            double[] dH = NormBackward(x.Key1, x.Norm1, dKey1, -x.Theta * along1);
            if (_c.Settings.Objective == MemoryObjective.L2)
            {
                Add(1, TimesTransposed(dE, start1), dH);
                AddOuter(x.H, dE, d1.Start);
                if (_c.Settings.Residual)
                    Add(1, dE, dk.AsSpan(at));
            }

            // h = φ(z), z = k W2_c
            Add(1, Multiply(dH, Array.ConvertAll(x.Z, GeluSlope)), dz);
            Add(1, TimesTransposed(dz, start2), dk.AsSpan(at));
            AddOuter(x.K, dz, d2.Start);
            Add(1, NormBackward(x.Key2, x.Norm2, dKey2, -x.Theta * along2), dk.AsSpan(at));
            if (_c.Settings.Read == ScanRead.Before)
                ReadBackward(t, x, dO, d1.W, d2.W, dq.AsSpan(at));
        }

        // key = x / r with r = √(‖x‖² + ε²).
        private static double[] NormBackward(double[] key, double norm, double[] dKey, double dNorm)
        {
            double[] dx = Scale(1 / norm, dKey);
            Add(dNorm - FiniteDifferences.Dot(dKey, key) / norm, key, dx);
            return dx;
        }

        private static (double[] DKey, double[] Du) WriteBackward(
            Layer layer, int t, Token x, double[] key, double[] u, LayerGradient d, int row, double[] dLogAlpha, double[] dErase,
            double[] dMu)
        {
            double[] before = layer.W[t], erased = Times(key, before), w = (double[])u.Clone();
            Add(-x.Erase, erased, w);
            Add(1, d.W, d.P);
            dLogAlpha[row] += x.Alpha * FiniteDifferences.Dot(d.W, before);
            dMu[row] += FiniteDifferences.Dot(d.P, layer.P[t]);
            double[] dw = Times(key, d.P), dKey = TimesTransposed(w, d.P);
            dErase[row] -= FiniteDifferences.Dot(dw, erased);
            double[] dr = Scale(-x.Erase, dw);
            Add(1, TimesTransposed(dr, before), dKey);
            Scale(x.Alpha, d.W).CopyTo(d.W, 0);
            AddOuter(key, dr, d.W);
            Scale(x.Mu, d.P).CopyTo(d.P, 0);
            return (dKey, dw);
        }

        private void ReadBackward(int t, Token x, double[] dO, double[] dW1, double[] dW2, Span<double> dq)
        {
            (double[] w1, double[] w2) = ReadWeights(t);
            double[] y = Times(x.Q, w2);
            AddOuter(Array.ConvertAll(y, Gelu), dO, dW1);
            double[] dy = Multiply(TimesTransposed(dO, w1), Array.ConvertAll(y, GeluSlope));
            AddOuter(x.Q, dy, dW2);
            Add(1, TimesTransposed(dy, w2), dq);
            if (_c.Settings.Residual)
                Add(1, dO, dq);
        }

        private (double[] W1, double[] W2) ReadWeights(int t) => _c.Settings.Read switch
        {
            ScanRead.After => (Layer1.W[t + 1], Layer2.W[t + 1]),
            ScanRead.Before => (Layer1.W[t], Layer2.W[t]),
            _ => Start(t),
        };

        private Token TokenAt(int t)
        {
            (double[] start1, double[] start2) = Start(t);
            return new Token(_c, Row(t), start1, start2);
        }

        private int Row(int t) => (_head / _c.Heads * _c.Time + t) * _c.Heads + _head % _c.Heads;
    }
}
