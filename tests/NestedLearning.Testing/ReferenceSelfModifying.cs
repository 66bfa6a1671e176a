namespace NestedLearning.Testing;

/// <summary>
/// docs/specification.md, section 6 for matrix memories, token by token in double. The columns of S are [k | v | mem | η | α]:
/// <code>
/// k = norm(x S_k,c)   v = x S_v,c or norm(x S_v,c)   η = softplus(x S_η,c + b_η) s_η   α = sigmoid(x S_α,c + b_α)   v̂ = v S_c
/// w_t = −η (k S_{t−1} + k S_c − v̂)      (exact gradient: −η (2 k S_{t−1} − v̂); dot product: −η (k S_{t−1} − v̂))
/// S_t = α S_{t−1} + kᵀ w_t              o_t = q S_mem,t, q S_mem,t−1 or q S_mem,c
/// </code>
/// </summary>
public static class ReferenceSelfModifying
{
    public static SelfModifyingResult Forward(SelfModifyingCase c)
    {
        int d = c.Dim, columns = c.Columns, state = d * columns;
        double[] o = new double[c.InputShape.ElementCount], s = new double[c.StateShape.ElementCount];
        double[] states = new double[c.Batch * c.Heads * (c.Time + 1) * state], next = new double[c.StateShape.ElementCount];
        for (int head = 0; head < c.Batch * c.Heads; head++)
        {
            Span<double> all = states.AsSpan(head * (c.Time + 1) * state, (c.Time + 1) * state);
            c.S0.AsSpan(head * state, state).CopyTo(all);
            for (int t = 0; t < c.Time; t++)
            {
                ReadOnlySpan<double> s1 = all.Slice(t * state, state), start = ChunkStart(c, head, all, t);
                Span<double> s2 = all.Slice((t + 1) * state, state);
                int row = Row(c, head, t);
                var token = new Token(c, row, s1, start);
                for (int i = 0; i < d; i++)
                {
                    for (int j = 0; j < columns; j++)
                        s2[i * columns + j] = token.Alpha * s1[i * columns + j] - token.Eta * token.K[i] * token.Error[j];
                }

                ReadOnlySpan<double> from = c.Settings.Read switch
                {
                    ScanRead.After => s2,
                    ScanRead.Before => s1,
                    _ => start,
                };
                double[] read = Times(c.Q.AsSpan(row * d, d), from, columns);
                read.AsSpan(2 * d, d).CopyTo(o.AsSpan(row * d));
            }

            all.Slice(c.Time * state, state).CopyTo(s.AsSpan(head * state));
            ChunkStart(c, head, all, c.Time).CopyTo(next.AsSpan(head * state));
        }

        return new SelfModifyingResult(o, s, states, next);
    }

    /// <summary>
    /// In reverse over tokens. The chunk's start S_c enters through k, v, η, α, v̂ and the frozen gradient; what flows
    /// into it is gathered over the chunk and joins dS where t reaches the start.
    /// </summary>
    public static SelfModifyingInputGradients Backward(SelfModifyingCase c, double[] dOutput, double[]? dState,
        double[]? dNextChunkStart = null)
    {
        SelfModifyingResult forward = Forward(c);
        int d = c.Dim, columns = c.Columns, state = d * columns, eta = 3 * d, alpha = 3 * d + 1;
        double[] dx = new double[c.InputShape.ElementCount], dq = new double[c.InputShape.ElementCount],
            dS0 = new double[c.StateShape.ElementCount];
        double[] dChunkStart = new double[c.StateShape.ElementCount];
        for (int head = 0; head < c.Batch * c.Heads; head++)
        {
            ReadOnlySpan<double> all = forward.States.AsSpan(head * (c.Time + 1) * state, (c.Time + 1) * state);
            double[] ds = new double[state], dStart = new double[state];
            dState?.AsSpan(head * state, state).CopyTo(ds);
            dNextChunkStart?.AsSpan(head * state, state).CopyTo(dStart);
            if (c.Settings.NextPhase(c.Time) == 0)
                Join(dStart, ds);
            for (int t = c.Time - 1; t >= 0; t--)
            {
                ReadOnlySpan<double> s1 = all.Slice(t * state, state), s2 = all.Slice((t + 1) * state, state);
                ReadOnlySpan<double> start = ChunkStart(c, head, all, t);
                int row = Row(c, head, t);
                var token = new Token(c, row, s1, start);
                ReadOnlySpan<double> x = c.X.AsSpan(row * d, d), q = c.Q.AsSpan(row * d, d), dO = dOutput.AsSpan(row * d, d);
                if (c.Settings.Read == ScanRead.After)
                    ReadBackward(q, dO, s2, dq.AsSpan(row * d, d), ds, columns);

                // S = α S' − η kᵀ e
                double dAlpha = 0, dEta = 0;
                double[] dk = new double[d], dError = new double[columns];
                for (int i = 0; i < d; i++)
                {
                    for (int j = 0; j < columns; j++)
                    {
                        double g = ds[i * columns + j];
                        dAlpha += g * s1[i * columns + j];
                        dEta -= g * token.K[i] * token.Error[j];
                        dk[i] -= g * token.Eta * token.Error[j];
                        dError[j] -= g * token.Eta * token.K[i];
                        ds[i * columns + j] = token.Alpha * g;
                    }
                }

                // e = k S' (+ k S' or k S_c) − v S_c
                bool l2 = c.Settings.Objective == MemoryObjective.L2, exact = c.Settings.ExactGradient;
                double[] dv = new double[d];
                for (int i = 0; i < d; i++)
                {
                    for (int j = 0; j < columns; j++)
                    {
                        int at = i * columns + j;
                        double erased = l2 && exact ? 2 * dError[j] : dError[j];
                        dk[i] += erased * s1[at];
                        ds[at] += token.K[i] * erased;
                        if (l2 && !exact)
                        {
                            dk[i] += dError[j] * start[at];
                            dStart[at] += token.K[i] * dError[j];
                        }

                        dv[i] -= dError[j] * start[at];
                        dStart[at] -= token.V[i] * dError[j];
                    }
                }

                // y = x S_c, of which k, v, η and α are made; mem's columns are not read here.
                double[] dy = new double[columns];
                double projection = FiniteDifferences.Dot(token.K, dk), valueProjection = FiniteDifferences.Dot(token.V, dv);
                for (int i = 0; i < d; i++)
                {
                    dy[i] = (dk[i] - token.K[i] * projection) / token.KeyNorm;
                    dy[d + i] = c.Settings.NormalizeValues ? (dv[i] - token.V[i] * valueProjection) / token.ValueNorm : dv[i];
                }

                dy[eta] = dEta * c.Settings.EtaScale * Sigmoid(token.Y[eta] + c.Settings.EtaBias);
                dy[alpha] = dAlpha * token.Alpha * (1 - token.Alpha);
                for (int i = 0; i < d; i++)
                {
                    for (int j = 0; j < columns; j++)
                    {
                        dx[row * d + i] += dy[j] * start[i * columns + j];
                        dStart[i * columns + j] += x[i] * dy[j];
                    }
                }

                if (c.Settings.Read == ScanRead.Before)
                    ReadBackward(q, dO, s1, dq.AsSpan(row * d, d), ds, columns);
                if (c.Settings.Read == ScanRead.ChunkStart)
                    ReadBackward(q, dO, start, dq.AsSpan(row * d, d), dStart, columns);
                if ((c.Settings.Phase + t) % c.Settings.Chunk == 0)
                    Join(dStart, ds);
            }

            ds.CopyTo(dS0, head * state);
            dStart.CopyTo(dChunkStart, head * state);
        }

        return new SelfModifyingInputGradients(dx, dq, dS0, dChunkStart);
    }

    // The state at the start of the chunk of token t.
    private static ReadOnlySpan<double> ChunkStart(SelfModifyingCase c, int head, ReadOnlySpan<double> all, int t)
    {
        int state = c.Dim * c.Columns, first = t - (c.Settings.Phase + t) % c.Settings.Chunk;
        return first >= 0 ? all.Slice(first * state, state) : c.ChunkStart.AsSpan(head * state, state);
    }

    // What flows into a chunk's start joins dS there.
    private static void Join(double[] dStart, double[] ds)
    {
        for (int i = 0; i < ds.Length; i++)
            ds[i] += dStart[i];
        Array.Clear(dStart);
    }

    /// <summary>x / √(Σx² + ε²) for each row.</summary>
    public static double[] Normalise(ReadOnlySpan<double> x, int width)
    {
        double[] y = x.ToArray();
        for (int start = 0; start < y.Length; start += width)
        {
            double norm = Norm(x.Slice(start, width));
            for (int i = start; i < start + width; i++)
                y[i] /= norm;
        }

        return y;
    }

    private static void ReadBackward(ReadOnlySpan<double> q, ReadOnlySpan<double> dO, ReadOnlySpan<double> s, Span<double> dq,
        Span<double> ds, int columns)
    {
        int d = q.Length;
        for (int i = 0; i < d; i++)
        {
            for (int j = 0; j < d; j++)
            {
                dq[i] += dO[j] * s[i * columns + 2 * d + j];
                ds[i * columns + 2 * d + j] += q[i] * dO[j];
            }
        }
    }

    private static double Norm(ReadOnlySpan<double> x)
    {
        const double Epsilon = SelfModifyingSettings.NormEpsilon;
        return Math.Sqrt(FiniteDifferences.Dot(x, x) + Epsilon * Epsilon);
    }

    private static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));

    private static double Softplus(double x) => Math.Max(x, 0) + Math.Log(1 + Math.Exp(-Math.Abs(x)));

    private static int Row(SelfModifyingCase c, int head, int t) => (head / c.Heads * c.Time + t) * c.Heads + head % c.Heads;

    // row · matrix [row.Length, columns]
    private static double[] Times(ReadOnlySpan<double> row, ReadOnlySpan<double> matrix, int columns)
    {
        double[] result = new double[columns];
        for (int i = 0; i < row.Length; i++)
        {
            for (int j = 0; j < columns; j++)
                result[j] += row[i] * matrix[i * columns + j];
        }

        return result;
    }

    private readonly struct Token
    {
        public Token(SelfModifyingCase c, int row, ReadOnlySpan<double> previous, ReadOnlySpan<double> start)
        {
            int d = c.Dim, columns = c.Columns;
            SelfModifyingSettings settings = c.Settings;
            Y = Times(c.X.AsSpan(row * d, d), start, columns);
            KeyNorm = Norm(Y.AsSpan(0, d));
            K = Normalise(Y.AsSpan(0, d), d);
            ValueNorm = Norm(Y.AsSpan(d, d));
            V = settings.NormalizeValues ? Normalise(Y.AsSpan(d, d), d) : Y.AsSpan(d, d).ToArray();
            Eta = Softplus(Y[3 * d] + settings.EtaBias) * settings.EtaScale;
            Alpha = Sigmoid(Y[3 * d + 1] + settings.AlphaBias);
            Error = Times(K, previous, columns);
            double[] frozen = Times(K, start, columns), target = Times(V, start, columns);
            for (int j = 0; j < columns; j++)
                Error[j] += (settings.Objective == MemoryObjective.DotProduct ? 0 : settings.ExactGradient ? Error[j] : frozen[j])
                    - target[j];
        }

        /// <summary>x S_c: [unnormalised key | unnormalised v | mem | η's argument | α's].</summary>
        public double[] Y { get; }

        public double KeyNorm { get; }

        public double[] K { get; }

        public double ValueNorm { get; }

        public double[] V { get; }

        public double Eta { get; }

        public double Alpha { get; }

        /// <summary>The sum of both brackets, k S_{t−1} + k S_c − v̂.</summary>
        public double[] Error { get; }
    }
}
