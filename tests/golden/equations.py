"""The equations of docs/specification.md token by token, over nested lists of floats or of scalars.Scalar.

Nothing here is chunk-parallel, fused or fast, and nothing is taken from the library: each function is the equation as it
stands. Tensors are nested lists, outermost axis first.
"""

from scalars import exp, gelu, gelu_slope, log, sigmoid, softplus, sqrt, value

NORM_EPSILON = 1e-6


def shape(x):
    axes = []
    while isinstance(x, list):
        axes.append(len(x))
        x = x[0] if x else 0
    return axes


def zeros(*axes):
    return 0.0 if not axes else [zeros(*axes[1:]) for _ in range(axes[0])]


def dot(x, y):
    total = 0.0
    for a, b in zip(x, y):
        total = total + a * b
    return total


def transpose(m):
    return [list(column) for column in zip(*m)]


def times(x, m):
    """Row x times matrix m."""
    return [dot(x, column) for column in zip(*m)]


def product(a, b):
    columns = transpose(b)
    return [[dot(row, column) for column in columns] for row in a]


def scaled(factor, x):
    return [factor * e for e in x]


def plus(x, y):
    return [a + b for a, b in zip(x, y)]


def minus(x, y):
    return [a - b for a, b in zip(x, y)]


def write(keep, state, key, row):
    """keep * state + key^T row."""
    return [[keep * s + k * r for s, r in zip(line, row)] for line, k in zip(state, key)]


def length(x):
    return sqrt(dot(x, x) + NORM_EPSILON * NORM_EPSILON)


def unit(x):
    return scaled(1.0 / length(x), x)


def gate(gates, b, t, h, default):
    return default if gates is None else gates[b][t][h]


def seen(read, after, before, start):
    """The state that a query reads."""
    return {"after": after, "before": before, "chunk_start": start}[read]


def chunk_start(t, chunk, phase, now, start):
    """The state at the start of the chunk of token t; `start` is that of the token before it."""
    return now if (phase + t) % chunk == 0 else start


# Section 1.
def scan(q, k, u, scale, read, log_alpha=None, erase=None, mu=None, theta=None, s0=None, p0=None,
         objective=None, chunk=1, phase=0, start=None):
    """u [B,T,H,Dv] is the write itself without an objective, with one the target v of a rule frozen at the chunk's start."""
    batch, time, heads, dk = shape(q)
    dv = shape(u)[3]
    o = zeros(batch, time, heads, 0)
    s, p, next_start = (zeros(batch, heads, 0, 0) for _ in range(3))
    for b in range(batch):
        for h in range(heads):
            now = s0[b][h] if s0 else zeros(dk, dv)
            momentum = p0[b][h] if p0 else zeros(dk, dv)
            frozen = start[b][h] if start else now
            for t in range(time):
                frozen = chunk_start(t, chunk, phase, now, frozen)
                key, target = k[b][t][h], u[b][t][h]
                if objective == "l2":
                    target = scaled(theta[b][t][h], minus(target, times(key, frozen)))
                elif objective == "dot":
                    target = scaled(theta[b][t][h], target)
                w = minus(target, scaled(gate(erase, b, t, h, 0.0), times(key, now)))
                alpha = 1.0 if log_alpha is None else exp(log_alpha[b][t][h])
                momentum = write(gate(mu, b, t, h, 0.0), momentum, key, w)
                after = [[alpha * x + y for x, y in zip(*rows)] for rows in zip(now, momentum)]
                o[b][t][h] = scaled(scale, times(q[b][t][h], seen(read, after, now, frozen)))
                now = after
            s[b][h], p[b][h] = now, momentum
            next_start[b][h] = chunk_start(time, chunk, phase, now, frozen)
    return {"o": o, "s": s, "p": p, "chunk_start": next_start}


# Section 2.
def deep_memory(q, k, v, w1, w2, chunk, objective, read, residual, log_alpha=None, theta=None, erase=None, mu=None,
                p1=None, p2=None, phase=0, start1=None, start2=None):
    batch, time, heads, d = shape(q)
    n = shape(w2)[3]
    o = zeros(batch, time, heads, 0)
    names = ("w1", "w2", "p1", "p2", "chunk_start1", "chunk_start2")
    ends = {name: zeros(batch, heads, 0, 0) for name in names}

    def answer(x, one, two):
        y = times([gelu(z) for z in times(x, two)], one)
        return plus(x, y) if residual else y

    for b in range(batch):
        for h in range(heads):
            one, two = w1[b][h], w2[b][h]
            momentum1 = p1[b][h] if p1 else zeros(n, d)
            momentum2 = p2[b][h] if p2 else zeros(d, n)
            frozen1, frozen2 = (start1[b][h], start2[b][h]) if start1 else (one, two)
            for t in range(time):
                frozen1 = chunk_start(t, chunk, phase, one, frozen1)
                frozen2 = chunk_start(t, chunk, phase, two, frozen2)
                key, target = k[b][t][h], v[b][t][h]
                rate = gate(theta, b, t, h, 1.0)
                z = times(key, frozen2)
                hidden = [gelu(x) for x in z]
                error = minus(answer(key, frozen1, frozen2), target) if objective == "l2" else scaled(-1.0, target)
                slope = [e * gelu_slope(x) for e, x in zip(times(error, transpose(frozen1)), z)]
                after = []
                for x, weight, momentum, u in ((hidden, one, momentum1, error), (key, two, momentum2, slope)):
                    unit_x = unit(x)
                    w = minus(scaled(-rate * length(x), u), scaled(gate(erase, b, t, h, 0.0), times(unit_x, weight)))
                    momentum = write(gate(mu, b, t, h, 0.0), momentum, unit_x, w)
                    alpha = 1.0 if log_alpha is None else exp(log_alpha[b][t][h])
                    after.append(([[alpha * x + y for x, y in zip(*rows)] for rows in zip(weight, momentum)], momentum))
                (one_after, momentum1), (two_after, momentum2) = after
                o[b][t][h] = answer(
                    q[b][t][h], seen(read, one_after, one, frozen1), seen(read, two_after, two, frozen2))
                one, two = one_after, two_after
            last = (one, two, momentum1, momentum2, chunk_start(time, chunk, phase, one, frozen1),
                    chunk_start(time, chunk, phase, two, frozen2))
            for name, state in zip(names, last):
                ends[name][b][h] = state
    return {"o": o, **ends}


# Section 6.
def self_modifying(x, q, s0, chunk, objective, read, eta_scale, eta_bias, alpha_bias, normalize_values=False,
                   exact_gradient=False, phase=0, start=None):
    """x, q [B,T,H,D]; the columns of s0 [B,H,D,3D+2] are k | v | mem | eta | alpha."""
    batch, time, heads, d = shape(x)
    o = zeros(batch, time, heads, 0)
    s, next_start = zeros(batch, heads, 0, 0), zeros(batch, heads, 0, 0)
    for b in range(batch):
        for h in range(heads):
            now = s0[b][h]
            frozen = start[b][h] if start else now
            for t in range(time):
                frozen = chunk_start(t, chunk, phase, now, frozen)
                made = times(x[b][t][h], frozen)
                key, v = unit(made[:d]), made[d:2 * d]
                if normalize_values:
                    v = unit(v)
                eta = softplus(made[3 * d] + eta_bias) * eta_scale
                alpha = sigmoid(made[3 * d + 1] + alpha_bias)
                target = times(v, frozen)
                old = times(key, now)
                bracket = scaled(-1.0, target)
                if objective == "l2":
                    bracket = minus(old if exact_gradient else times(key, frozen), target)
                after = write(alpha, now, key, scaled(-eta, plus(old, bracket)))
                memory = [row[2 * d:3 * d] for row in seen(read, after, now, frozen)]
                o[b][t][h] = times(q[b][t][h], memory)
                now = after
            s[b][h] = now
            next_start[b][h] = chunk_start(time, chunk, phase, now, frozen)
    return {"o": o, "s": s, "chunk_start": next_start}


def self_modifying_one_head(x, wq, s_k, s_v, s_mem, s_eta, s_alpha, **settings):
    """The same from one start for every sequence, with queries norm(x wq)."""
    d = len(wq)
    q = [[unit(times(row, wq)) for row in sequence] for sequence in x]
    start = [sum(rows, []) for rows in zip(s_k, s_v, s_mem, s_eta, s_alpha)]
    result = self_modifying(
        [[[row] for row in sequence] for sequence in x], [[[row] for row in sequence] for sequence in q],
        [[start] for _ in x], **settings)
    columns = {"s_k": (0, d), "s_v": (d, 2 * d), "s_mem": (2 * d, 3 * d), "s_eta": (3 * d, 3 * d + 1),
               "s_alpha": (3 * d + 1, 3 * d + 2)}
    ends = {name: [[row[a:z] for row in heads[0]] for heads in result["s"]] for name, (a, z) in columns.items()}
    return {"o": [[token[0] for token in sequence] for sequence in result["o"]], **ends}


# Around the memories.
def attention(q, k, v, scale):
    batch, time, heads, _ = shape(q)
    cached = len(k[0]) - time
    o, log_sums = zeros(batch, time, heads, 0), zeros(batch, time, heads)
    for b in range(batch):
        for t in range(time):
            for h in range(heads):
                scores = [scale * dot(q[b][t][h], k[b][j][h]) for j in range(cached + t + 1)]
                most = max(value(x) for x in scores)
                weights = [exp(x - most) for x in scores]
                total = sum(weights[1:], weights[0])
                log_sums[b][t][h] = log(total) + most
                rows = [v[b][j][h] for j in range(len(scores))]
                o[b][t][h] = [dot(weights, column) / total for column in zip(*rows)]
    return {"o": o, "log_sums": log_sums}


def norm(x, kind, eps, gain=None, bias=None):
    y = []
    for row in x:
        if kind == "layer":
            mean = sum(row[1:], row[0]) / len(row)
            row = [e - mean for e in row]
        square = dot(row, row)
        divisor = sqrt(square + eps * eps) if kind == "l2" else sqrt(square / len(row) + eps)
        row = [e / divisor for e in row]
        row = [g * e for g, e in zip(gain, row)] if gain else row
        y.append(plus(row, bias) if bias else row)
    return {"y": y}


def causal_convolution(x, weight, bias=None, state=None):
    y, next_state = [], []
    for b, sequence in enumerate(x):
        rows = (state[b] if state else zeros(3, len(weight))) + sequence
        y.append([[dot(weight[i], [rows[t + j][i] for j in range(4)]) + (bias[i] if bias else 0.0)
                   for i in range(len(weight))] for t in range(len(sequence))])
        next_state.append(rows[-3:])
    return {"y": y, "next_state": next_state}


def cross_entropy(logits, targets):
    losses, log_sums = [], []
    for row, target in zip(logits, targets):
        most = max(value(x) for x in row)
        weights = [exp(x - most) for x in row]
        log_sums.append(log(sum(weights[1:], weights[0])) + most)
        losses.append(0.0 if target < 0 else log_sums[-1] - row[target])
    return {"losses": losses, "log_sums": log_sums}


ACTIVATIONS = {"sigmoid": sigmoid, "softplus": softplus, "log_sigmoid": lambda x: -softplus(-x), "gelu": gelu}


def ridge(x, y, delta, forget):
    """g = P x/(forget + x P x), W <- W + g (y - x W), P <- (P - g x P)/forget, from W = 0 and P = I/delta."""
    features = len(x[0])
    w, o = zeros(features, len(y[0])), []
    p = [[1 / delta if i == j else 0.0 for j in range(features)] for i in range(features)]
    for key, target in zip(x, y):
        read = [dot(row, key) for row in p]
        scale = forget + dot(key, read)
        answer = times(key, w)
        o.append(answer)
        w = [[e + read[i] / scale * (b - a) for e, a, b in zip(row, answer, target)] for i, row in enumerate(w)]
        p = [[(e - read[i] / scale * read[j]) / forget for j, e in enumerate(row)] for i, row in enumerate(p)]
    return {"o": o, "w": w, "p": p}


def mixture(log_p, share, w=None):
    """The log of p = sum w_i p_i, and w_i <- (1 - share) w_i p_i/p + share/k."""
    k = len(log_p[0])
    w = w or [1 / k] * k
    o = []
    for row in log_p:
        weighted = [a * exp(b) for a, b in zip(w, row)]
        p = sum(weighted)
        o.append(log(p))
        w = [(1 - share) * e / p + share / k for e in weighted]
    return {"o": o, "w": w}


def newton_schulz(g, steps=5):
    tall = len(g) > len(g[0])
    x = transpose(g) if tall else g
    size = sqrt(sum(dot(row, row) for row in x))
    x = [scaled(1.0 / size, row) for row in x]
    for _ in range(steps):
        a = product(x, transpose(x))
        b = [[-4.7750 * e + 2.0315 * f for e, f in zip(*rows)] for rows in zip(a, product(a, a))]
        x = [[3.4445 * e + f for e, f in zip(*rows)] for rows in zip(x, product(b, x))]
    return transpose(x) if tall else x
