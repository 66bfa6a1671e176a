namespace NestedLearning.Testing;

/// <summary>
/// docs/specification.md, section 1 token by token in double, apart from any kernel: no chunk form, no products of decays.
/// <code>
/// w_t = u_t − ε_t (k_t S_{t−1});  P_t = μ_t P_{t−1} + k_tᵀ w_t;  S_t = α_t S_{t−1} + P_t;  o_t = scale · q_t S_t, q_t S_{t−1} or q_t S_c
/// u_t = U_t,  θ_t U_t  or  θ_t (U_t − k_t S_c)
/// </code>
/// </summary>
public static class ReferenceScan
{
    public static ScanResult Forward(ScanCase c)
    {
        int dk = c.KeyDim, dv = c.ValueDim, state = dk * dv;
        double[] o = new double[c.ValueShape.ElementCount], s = new double[c.StateShape.ElementCount], p = new double[c.StateShape.ElementCount];
        double[] states = new double[c.Batch * c.Heads * (c.Time + 1) * state], momenta = new double[states.Length];
        double[] next = new double[c.StateShape.ElementCount];
        for (int head = 0; head < c.Batch * c.Heads; head++)
        {
            Span<double> all = states.AsSpan(head * (c.Time + 1) * state, (c.Time + 1) * state);
            Span<double> allP = momenta.AsSpan(head * (c.Time + 1) * state, (c.Time + 1) * state);
            c.S0?.AsSpan(head * state, state).CopyTo(all);
            c.P0?.AsSpan(head * state, state).CopyTo(allP);
            double[] w = new double[dv];
            for (int t = 0; t < c.Time; t++)
            {
                var at = new Token(c, head, t);
                ReadOnlySpan<double> s1 = all.Slice(t * state, state), p1 = allP.Slice(t * state, state);
                ReadOnlySpan<double> start = ChunkStart(c, head, all, t);
                Span<double> s2 = all.Slice((t + 1) * state, state), p2 = allP.Slice((t + 1) * state, state);
                for (int j = 0; j < dv; j++)
                    w[j] = at.Write(j, start) - at.Erase * RowTimes(at.K, s1, j, dv);
                for (int i = 0; i < dk; i++)
                {
                    for (int j = 0; j < dv; j++)
                    {
                        p2[i * dv + j] = at.Mu * p1[i * dv + j] + at.K[i] * w[j];
                        s2[i * dv + j] = at.Alpha * s1[i * dv + j] + p2[i * dv + j];
                    }
                }

                ReadOnlySpan<double> read = c.Settings.Read switch
                {
                    ScanRead.After => s2,
                    ScanRead.Before => s1,
                    _ => start,
                };
                for (int j = 0; j < dv; j++)
                    o[at.Index * dv + j] = c.Settings.Scale * RowTimes(at.Q, read, j, dv);
            }

            all.Slice(c.Time * state, state).CopyTo(s.AsSpan(head * state));
            allP.Slice(c.Time * state, state).CopyTo(p.AsSpan(head * state));
            ChunkStart(c, head, all, c.Time).CopyTo(next.AsSpan(head * state));
        }

        return new ScanResult(o, s, p, states, momenta, next);
    }

    /// <summary>The token form of the spec, in reverse; the frozen state's gradient joins dS at its chunk's start.</summary>
    public static ScanInputGradients Backward(ScanCase c, ScanUpstream upstream)
    {
        ScanResult forward = Forward(c);
        int dk = c.KeyDim, dv = c.ValueDim, state = dk * dv;
        var g = new ScanInputGradients(
            new double[c.KeyShape.ElementCount], new double[c.KeyShape.ElementCount], new double[c.ValueShape.ElementCount],
            new double[c.GateShape.ElementCount], new double[c.GateShape.ElementCount], new double[c.GateShape.ElementCount], new double[c.GateShape.ElementCount],
            new double[c.StateShape.ElementCount], new double[c.StateShape.ElementCount], new double[c.StateShape.ElementCount]);
        for (int head = 0; head < c.Batch * c.Heads; head++)
        {
            ReadOnlySpan<double> all = forward.States.AsSpan(head * (c.Time + 1) * state, (c.Time + 1) * state);
            ReadOnlySpan<double> allP = forward.Momenta.AsSpan(head * (c.Time + 1) * state, (c.Time + 1) * state);
            double[] ds = new double[state], dp = new double[state], dStart = new double[state];
            double[] w = new double[dv], dw = new double[dv], noOutput = new double[dv];
            upstream.S?.AsSpan(head * state, state).CopyTo(ds);
            upstream.P?.AsSpan(head * state, state).CopyTo(dp);
            upstream.ChunkStart?.AsSpan(head * state, state).CopyTo(dStart);
            if (c.Settings.NextPhase(c.Time) == 0)
                Join(dStart, ds);
            for (int t = c.Time - 1; t >= 0; t--)
            {
                var at = new Token(c, head, t);
                ReadOnlySpan<double> s1 = all.Slice(t * state, state), p1 = allP.Slice(t * state, state), s2 = all.Slice((t + 1) * state, state);
                ReadOnlySpan<double> start = ChunkStart(c, head, all, t);
                ReadOnlySpan<double> dO = upstream.O is null ? noOutput : upstream.O.AsSpan(at.Index * dv, dv);
                Span<double> dq = g.Q.AsSpan(at.Index * dk, dk), dkey = g.K.AsSpan(at.Index * dk, dk), dU = g.U.AsSpan(at.Index * dv, dv);
                if (c.Settings.Read == ScanRead.After)
                    ReadBackward(c.Settings.Scale, at.Q, dO, s2, dq, ds);

                double dAlpha = 0, dMu = 0, dErase = 0, dTheta = 0;
                for (int i = 0; i < state; i++)
                {
                    dp[i] += ds[i];
                    dAlpha += ds[i] * s1[i];
                    dMu += dp[i] * p1[i];
                }

                for (int j = 0; j < dv; j++)
                {
                    double read = RowTimes(at.K, s1, j, dv);
                    w[j] = at.Write(j, start) - at.Erase * read;
                    dw[j] = RowTimes(at.K, dp, j, dv);
                    dErase -= dw[j] * read;
                    dTheta += dw[j] * at.Target(j, start);
                    dU[j] = c.Settings.Write == ScanWrite.Given ? dw[j] : at.Theta * dw[j];
                }

                bool frozen = c.Settings.Write == ScanWrite.FrozenL2;
                for (int i = 0; i < dk; i++)
                {
                    for (int j = 0; j < dv; j++)
                    {
                        int e = i * dv + j;
                        double dr = -at.Erase * dw[j];
                        dkey[i] += w[j] * dp[e] + dr * s1[e];
                        if (frozen)
                        {
                            dkey[i] -= at.Theta * dw[j] * start[e];
                            dStart[e] -= at.K[i] * at.Theta * dw[j];
                        }

                        ds[e] = at.Alpha * ds[e] + at.K[i] * dr;
                        dp[e] = at.Mu * dp[e];
                    }
                }

                if (c.Settings.Read == ScanRead.Before)
                    ReadBackward(c.Settings.Scale, at.Q, dO, s1, dq, ds);
                if (c.Settings.Read == ScanRead.ChunkStart)
                    ReadBackward(c.Settings.Scale, at.Q, dO, start, dq, dStart);
                if ((c.Settings.Phase + t) % c.Settings.Chunk == 0)
                    Join(dStart, ds);

                g.LogAlpha[at.Index] = at.Alpha * dAlpha;
                g.Mu[at.Index] = dMu;
                g.Erase[at.Index] = dErase;
                g.Theta[at.Index] = dTheta;
            }

            ds.CopyTo(g.S0, head * state);
            dp.CopyTo(g.P0, head * state);
            dStart.CopyTo(g.ChunkStart, head * state);
        }

        return g;
    }

    // The state at the start of the chunk of token t.
    private static ReadOnlySpan<double> ChunkStart(ScanCase c, int head, ReadOnlySpan<double> all, int t)
    {
        int state = c.KeyDim * c.ValueDim, first = t - (c.Settings.Phase + t) % c.Settings.Chunk;
        return first >= 0 ? all.Slice(first * state, state) : c.ChunkStart.AsSpan(head * state, state);
    }

    // What flows into a chunk's start joins dS there.
    private static void Join(double[] dStart, double[] ds)
    {
        for (int e = 0; e < ds.Length; e++)
            ds[e] += dStart[e];
        Array.Clear(dStart);
    }

    // dS += scale · qᵀ do;  dq = scale · do Sᵀ
    private static void ReadBackward(double scale, ReadOnlySpan<double> q, ReadOnlySpan<double> dO, ReadOnlySpan<double> s, Span<double> dq, Span<double> ds)
    {
        for (int i = 0; i < q.Length; i++)
        {
            for (int j = 0; j < dO.Length; j++)
            {
                dq[i] += scale * dO[j] * s[i * dO.Length + j];
                ds[i * dO.Length + j] += scale * q[i] * dO[j];
            }
        }
    }

    // Column j of row · matrix [.., columns].
    private static double RowTimes(ReadOnlySpan<double> row, ReadOnlySpan<double> matrix, int j, int columns)
    {
        double sum = 0;
        for (int i = 0; i < row.Length; i++)
            sum += row[i] * matrix[i * columns + j];
        return sum;
    }

    private readonly ref struct Token
    {
        private readonly ScanWrite _write;
        private readonly ReadOnlySpan<double> _u;

        public Token(ScanCase c, int head, int t)
        {
            Index = (head / c.Heads * c.Time + t) * c.Heads + head % c.Heads;
            Q = c.Q.AsSpan(Index * c.KeyDim, c.KeyDim);
            K = c.K.AsSpan(Index * c.KeyDim, c.KeyDim);
            _u = c.U.AsSpan(Index * c.ValueDim, c.ValueDim);
            _write = c.Settings.Write;
            Alpha = c.LogAlpha is null ? 1 : Math.Exp(c.LogAlpha[Index]);
            Erase = c.Erase is null ? 0 : c.Erase[Index];
            Mu = c.Mu is null ? 0 : c.Mu[Index];
            Theta = c.Theta is null ? 1 : c.Theta[Index];
        }

        /// <summary>Its place in [B, T, H].</summary>
        public int Index { get; }

        public ReadOnlySpan<double> Q { get; }

        public ReadOnlySpan<double> K { get; }

        public double Alpha { get; }

        public double Erase { get; }

        public double Mu { get; }

        public double Theta { get; }

        /// <summary>Element j of what θ multiplies.</summary>
        public double Target(int j, ReadOnlySpan<double> start) =>
            _write == ScanWrite.FrozenL2 ? _u[j] - RowTimes(K, start, j, _u.Length) : _u[j];

        /// <summary>Element j of the write u_t, before erasing.</summary>
        public double Write(int j, ReadOnlySpan<double> start) => _write == ScanWrite.Given ? _u[j] : Theta * Target(j, start);
    }
}
