#!/usr/bin/env python3
"""Makes golden cases of this folder: `python3 tests/golden/make.py [NAME...]`, all that it knows without a name.

Plain Python, no packages. Inputs are random float32 numbers of a fixed seed; results are computed from them in float64 by
equations.py and optimizers.py, gradients by scalars.py. `make.py --check` computes everything again and compares it with
the files, and the cases that are not from here with what equations.py makes of their inputs.
"""

import math
import os
import random
import sys

import equations as eq
import optimizers as opt
from check import check
from files import flat, mapped, written
from scalars import Scalar, gradients, value

FOLDER = os.path.dirname(os.path.abspath(__file__))
CASES = {}


class Data:
    """Random inputs of one case, float32 numbers as nested lists."""

    def __init__(self, name):
        self.random = random.Random(name)

    def uniform(self, low, high, *axes):
        if not axes:
            return opt.single(low + (high - low) * self.random.random())
        return [self.uniform(low, high, *axes[1:]) for _ in range(axes[0])]

    def normal(self, *axes, deviation=1.0):
        if not axes:
            u, v = 1.0 - self.random.random(), self.random.random()
            return opt.single(deviation * math.sqrt(-2 * math.log(u)) * math.cos(2 * math.pi * v))
        return [self.normal(*axes[1:], deviation=deviation) for _ in range(axes[0])]

    def units(self, *axes):
        """Normal rows made about unit length."""
        return self.normal(*axes, deviation=1 / math.sqrt(axes[-1]))


def case(name, op, settings, inputs, outputs):
    assert name not in CASES, name
    words = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in settings.items()}
    tensors = {f"in.{k}": v for k, v in inputs.items() if v is not None}
    tensors.update({f"out.{k}": mapped(value, v) for k, v in outputs.items()})
    CASES[name] = ({"op": op, **words}, tensors)


def backward(name, op, settings, inputs, upstream, forward, renamed=None, fixed=()):
    """A case of a gradient: of sum(upstream * results) by every input that is given and not fixed."""
    given = {k: mapped(Scalar, v) for k, v in inputs.items() if v is not None and k not in fixed}
    results = forward(**{**inputs, **given})
    loss = Scalar(0.0)
    for key, weights in upstream.items():
        for weight, result in zip(flat(weights), flat(results[key])):
            loss = loss + weight * result
    outputs = {}
    for key, tensor in given.items():
        found = iter(gradients(loss, flat(tensor)) if not outputs else [x.gradient for x in flat(tensor)])
        outputs[f"d{(renamed or {}).get(key, key)}"] = mapped(lambda _: next(found), tensor)
    names = {(renamed or {}).get(k, k): v for k, v in inputs.items()}
    case(name, op, settings, {**names, **{f"d{k}": v for k, v in upstream.items()}}, outputs)


def part(settings, *names):
    return {k: v for k, v in settings.items() if k in names}


def scans():
    def inputs(name, letters, b=1, t=17, h=2, dk=6, dv=7):
        data = Data(name)
        x = {"q": data.units(b, t, h, dk), "k": data.units(b, t, h, dk), "u": data.normal(b, t, h, dv)}
        x["log_alpha"] = data.uniform(-0.3, 0, b, t, h) if "a" in letters else None
        x["erase"] = data.uniform(0, 1, b, t, h) if "e" in letters else None
        x["mu"] = data.uniform(0.3, 0.9, b, t, h) if "m" in letters else None
        x["theta"] = data.uniform(0.1, 0.9, b, t, h) if "t" in letters else None
        for key, letter in (("s0", "s"), ("p0", "p"), ("start", "c")):
            x[key] = data.normal(b, h, dk, dv, deviation=0.5) if letter in letters else None
        ends = {"s": data.normal(b, h, dk, dv), "p": data.normal(b, h, dk, dv), "chunk_start": data.normal(b, h, dk, dv)}
        return x, {"o": data.normal(b, t, h, dv)}, ends

    for name, letters, scale, read, chunk in (
            ("scan-plain", "", 1.0, "after", None),
            ("scan-plain-before", "e", 0.7, "before", 8),
            ("scan-momentum-fresh", "am", 0.5, "after", None),
            ("scan-momentum-before", "aemsp", 0.5, "before", 5)):
        x, upstream, ends = inputs(name, letters)
        settings = {"scale": scale, "read": read, **({"chunk": chunk} if chunk else {})}
        result = eq.scan(scale=scale, read=read, **x)
        kept = ("o", "s", "p") if x["mu"] else ("o", "s")
        case(name, "scan", settings, x, {k: result[k] for k in kept})
        if name in ("scan-momentum-before", "scan-plain-before"):
            upstream.update({k: ends[k] for k in kept[1:]})
        if name == "scan-plain-before":
            del upstream["o"]
        backward(f"{name}-backward", "scan-backward", settings, x, upstream,
                 lambda **y: eq.scan(scale=scale, read=read, **y))

    renamed = {"u": "v", "start": "chunk_start"}
    # The last two have values wider than the columns that a kernel keeps in registers, and a rest.
    for name, letters, objective, read, chunk, phase, *wide in (
            ("scan-frozen-minimal", "t", "l2", "after", 8, None),
            ("scan-frozen-momentum", "aemtsp", "l2", "before", 5, None),
            ("scan-frozen-momentum-fresh", "aemt", "dot", "after", 5, None),
            ("scan-frozen-chunk-start", "aets", "dot", "chunk_start", 6, 0),
            ("scan-frozen-phase-l2", "aemtspc", "l2", "after", 7, 3),
            ("scan-frozen-phase-dot", "aetsc", "dot", "chunk_start", 4, 1),
            ("scan-frozen-wide-l2", "aemtspc", "l2", "chunk_start", 4, 1, 35),
            ("scan-frozen-wide-dot", "aemtsp", "dot", "before", 4, None, 35)):
        x, upstream, ends = inputs(name, letters, **({"t": 10, "dk": 5, "dv": wide[0]} if wide else {}))
        settings = {"scale": 0.6, "read": read, "objective": objective, "chunk": chunk}
        settings.update({"phase": phase} if phase is not None else {})
        flags = {**settings, "phase": phase or 0}
        result = eq.scan(**flags, **x)
        kept = ["o", "s"] + ["p"] * bool(x["mu"]) + ["chunk_start"] * (phase is not None)
        case(name, "scan-frozen", settings, {renamed.get(k, k): v for k, v in x.items()}, {k: result[k] for k in kept})
        if name != "scan-frozen-minimal" and "fresh" not in name:
            upstream.update({k: ends[k] for k in kept[1:]})
        if name == "scan-frozen-phase-dot":
            del upstream["o"]
        backward(f"{name}-backward", "scan-frozen-backward", settings, x, upstream,
                 lambda **y: eq.scan(**flags, **y), renamed)


def deep_memories():
    # The last has layers wider than the columns that a kernel keeps in registers, and a rest.
    for name, letters, objective, read, residual, chunk, phase, b, *wide in (
            ("mlp-memory-minimal", "", "l2", "after", False, 4, None, 1),
            ("mlp-memory-before", "atem", "l2", "before", True, 5, None, 2),
            ("mlp-memory-chunk-start", "atemp", "dot", "chunk_start", False, 4, 0, 1),
            ("mlp-memory-phase", "atempc", "l2", "after", False, 6, 4, 1),
            ("mlp-memory-phase-chunk-start", "tec", "dot", "chunk_start", True, 5, 2, 1),
            ("mlp-memory-wide", "atempc", "l2", "before", True, 4, 1, 1, 6, 1, 18, 20)):
        t, h, d, n = wide or (13, 2, 4, 6)
        data = Data(name)
        x = {"q": data.units(b, t, h, d), "k": data.units(b, t, h, d), "v": data.normal(b, t, h, d)}
        x["log_alpha"] = data.uniform(-0.3, 0, b, t, h) if "a" in letters else None
        x["theta"] = data.uniform(0.05, 0.4, b, t, h) if "t" in letters else None
        x["erase"] = data.uniform(0, 0.9, b, t, h) if "e" in letters else None
        x["mu"] = data.uniform(0.2, 0.7, b, t, h) if "m" in letters else None
        first, second = (b, h, n, d), (b, h, d, n)
        x["w1"], x["w2"] = data.units(*first), data.units(*second)
        for key, letter, axes in (("p1", "p", first), ("p2", "p", second), ("start1", "c", first), ("start2", "c", second)):
            x[key] = data.normal(*axes, deviation=0.3) if letter in letters else None
        flags = {"objective": objective, "read": read, "residual": residual, "chunk": chunk, "phase": phase or 0}
        settings = {k: v for k, v in flags.items() if k != "phase" or phase is not None}
        renamed = {"start1": "chunk_start1", "start2": "chunk_start2"}
        result = eq.deep_memory(**flags, **x)
        kept = ["o", "w1", "w2"] + ["p1", "p2"] * bool(x["mu"])
        kept += ["chunk_start1", "chunk_start2"] * (phase is not None)
        case(name, "mlp-memory", settings, {renamed.get(k, k): v for k, v in x.items()}, {k: result[k] for k in kept})
        upstream = {"o": data.normal(b, t, h, d)}
        if name not in ("mlp-memory-minimal", "mlp-memory-before"):
            upstream.update({k: data.normal(*eq.shape(result[k])) for k in kept[1:]})
        if name == "mlp-memory-phase-chunk-start":
            del upstream["o"]
        backward(f"{name}-backward", "mlp-memory-backward", settings, x, upstream,
                 lambda **y: eq.deep_memory(**flags, **y), renamed)


def self_modifying_memories():
    reads = ("before", "after", "chunk_start")
    common = {"eta_scale": 0.2, "eta_bias": -0.5, "alpha_bias": 3.0}
    combinations = [(o, e, n) for o in ("l2", "dot") for e in (False, True) for n in (False, True)]
    for i, (objective, exact, normalized) in enumerate(combinations):
        label = f"{objective}{'-exact' if exact else ''}{'-normalized' if normalized else ''}"
        flags = {"objective": objective, "read": reads[i % 3], **common}
        if exact:
            flags["exact_gradient"] = True
        if normalized:
            flags["normalize_values"] = True

        data = Data(f"self-modifying-{label}-{flags['read']}")
        d = 12
        x = {"x": data.normal(2, 19, d), "wq": data.units(d, d)}
        x.update({k: data.units(d, d) for k in ("s_k", "s_v", "s_mem")})
        x.update({k: data.units(d, 1) for k in ("s_eta", "s_alpha")})
        settings = {"chunk": 8, **flags}
        case(f"self-modifying-{label}-{flags['read']}", "self-modifying", settings, x,
             eq.self_modifying_one_head(**x, **settings))

        memories(label, flags, (None, 0, 3, 1)[i % 4])

    # Memories wider than the columns that a kernel keeps in registers, and a rest.
    memories("l2-wide", {"objective": "l2", "read": "after", **common}, 3, h=1, t=6, d=18)
    memories("dot-normalized-wide", {"objective": "dot", "read": "before", "normalize_values": True, **common}, 1, h=1, t=6, d=18)


def memories(label, flags, phase, b=1, t=11, h=2, d=4):
    name, renamed = f"self-modifying-memories-{label}", {"start": "chunk_start"}
    data = Data(name)
    x = {"x": data.normal(b, t, h, d), "q": mapped(opt.single, eq.zeros(b, t, h, 0)), "s0": data.units(b, h, d, 3 * d + 2)}
    for sequence in x["q"]:
        for token in sequence:
            token[:] = [mapped(opt.single, eq.unit(data.normal(d))) for _ in range(h)]
    x["start"] = data.units(b, h, d, 3 * d + 2) if phase else None
    settings = {"chunk": 4, **flags, **({"phase": phase} if phase is not None else {})}
    called = {**settings, "phase": phase or 0}
    result = eq.self_modifying(**called, **x)
    kept = ["o", "s"] + ["chunk_start"] * (phase is not None)
    case(name, "self-modifying-memories", settings, {renamed.get(k, k): v for k, v in x.items()}, {k: result[k] for k in kept})
    upstream = {k: data.normal(*eq.shape(result[k])) for k in (kept if phase is not None else kept[:1])}
    backward(f"{name}-backward", "self-modifying-memories-backward", settings, x, upstream,
             lambda **y: eq.self_modifying(**called, **y), renamed)


def attentions():
    for name, b, t, s in (("attention", 2, 19, 19), ("attention-cache", 1, 5, 23)):
        data = Data(name)
        x = {"q": data.normal(b, t, 2, 6), "k": data.normal(b, s, 2, 6), "v": data.normal(b, s, 2, 5)}
        case(name, "attention", {"scale": 0.4}, x, eq.attention(**x, scale=0.4))
        backward(f"{name}-backward", "attention-backward", {"scale": 0.4}, x, {"o": data.normal(b, t, 2, 5)},
                 lambda **y: eq.attention(**y, scale=0.4))


def products():
    def gemm(name, m, n, k, transpose_a=False, transpose_b=False, epilogue=None, precision=None, symmetric=False, given=(),
             residual_scale=None):
        data = Data(name)
        a, b = data.normal(m, k), data.normal(k, n)
        if symmetric:
            b = eq.transpose(a)
        x = {"a": eq.transpose(a) if transpose_a else a, "b": eq.transpose(b) if transpose_b else b}
        x.update({key: data.normal(n) if key == "bias" else data.normal(m, n) for key in given})
        if symmetric and given:
            x["residual"] = [[x["residual"][max(i, j)][min(i, j)] for j in range(n)] for i in range(m)]
        if precision == "bfloat16":
            a, b = mapped(opt.bfloat16, a), mapped(opt.bfloat16, b)
        z = [eq.plus(row, x["bias"]) if "bias" in x else row for row in eq.product(a, b)]
        y = mapped(eq.gelu, z) if epilogue == "gelu" else z
        if epilogue == "gelu_gradient":
            y = [[e * eq.gelu_slope(s) for e, s in zip(*rows)] for rows in zip(z, x["pre_activation"])]
        for key, factor in (("residual", residual_scale or 1.0), ("c", 1.0)):
            if key in x:
                y = [[e + factor * r for e, r in zip(*rows)] for rows in zip(y, x[key])]
        settings = {"transpose_a": transpose_a, "transpose_b": transpose_b, "epilogue": epilogue, "precision": precision,
                    "symmetric": symmetric, "residual_scale": residual_scale}
        settings = {key: s for key, s in settings.items() if s not in (None, False)}
        case(name, "gemm", settings, x, {"c": y, **({"pre_activation": z} if epilogue == "gelu" else {})})

    gemm("gemm", 13, 19, 23)
    gemm("gemm-transposed", 9, 17, 21, transpose_a=True, transpose_b=True, epilogue="none", precision="float32")
    gemm("gemm-gelu", 11, 18, 20, transpose_b=True, epilogue="gelu", given=("bias", "residual"), residual_scale=0.5)
    gemm("gemm-gelu-gradient", 11, 18, 20, epilogue="gelu_gradient", given=("pre_activation", "residual"))
    gemm("gemm-accumulate", 10, 12, 33, transpose_a=True, given=("c", "bias"))
    gemm("gemm-symmetric", 17, 17, 25, transpose_b=True, symmetric=True, given=("residual",), residual_scale=-1.5)
    gemm("gemm-bfloat16", 12, 20, 31, precision="bfloat16")

    for name, transpose_a, transpose_b, added in (
            ("batched-gemm", False, False, False), ("batched-gemm-transposed", True, True, True)):
        data = Data(name)
        a, b, c = data.normal(3, 7, 9), data.normal(3, 9, 11), data.normal(3, 7, 11)
        results = [eq.product(*pair) for pair in zip(a, b)]
        if added:
            results = [[eq.plus(*rows) for rows in zip(*pair)] for pair in zip(results, c)]
        x = {"a": [eq.transpose(e) for e in a] if transpose_a else a, "b": [eq.transpose(e) for e in b] if transpose_b else b}
        settings = {"transpose_a": True, "transpose_b": True} if transpose_a else {}
        case(name, "batched-gemm", settings, {**x, "c": c if added else None}, {"c": results})

    for name, rows, columns in (("newton-schulz-wide", 5, 9), ("newton-schulz-tall", 9, 4)):
        g = Data(name).normal(rows, columns)
        case(name, "newton-schulz", {}, {"g": g}, {"x": eq.newton_schulz(g)})


def norms():
    for kind, gain, bias, eps in (
            ("rms", True, False, 1e-5), ("layer", True, True, 1e-5), ("layer", False, False, 1e-3), ("l2", False, False, 1e-6)):
        name = f"norm-{kind}{'' if gain or kind == 'l2' else '-plain'}"
        data = Data(name)
        d = 19
        x = {"x": data.normal(5, d), "gain": data.normal(d) if gain else None, "bias": data.normal(d) if bias else None}
        settings = {"kind": kind, "eps": eps}
        case(name, "norm", settings, x, eq.norm(**x, **settings))

        # The bias has no part in dx and dgain, and the operation takes none.
        bias = x.pop("bias") or (eq.zeros(d) if kind == "layer" else None)
        added = {key: data.normal(d) for key, there in (("dgain", gain), ("dbias", kind == "layer")) if there and name != "norm-rms"}
        if name == "norm-layer-plain":
            added = {}
        dy = data.normal(5, d)
        backward(f"{name}-backward", "norm-backward", settings, {**x, "bias": bias}, {"y": dy},
                 lambda **y: eq.norm(**y, **settings))
        take_sums(f"{name}-backward", added, without=["bias"])


def take_sums(name, added, without=()):
    """Gives a gradient case what its parameters' gradients are added to, and takes away inputs that are not the operation's."""
    _, tensors = CASES[name]
    for key in without:
        tensors.pop(f"in.{key}", None)
    for key, before in added.items():
        tensors[f"in.{key}"] = before
        rows = zip(tensors[f"out.{key}"], before)
        tensors[f"out.{key}"] = [eq.plus(*row) if isinstance(row[0], list) else row[0] + row[1] for row in rows]


def convolutions():
    for name, full in (("causal-convolution", False), ("causal-convolution-state", True)):
        data = Data(name)
        b, t, d = 2, 2 if full else 9, 11
        x = {"x": data.normal(b, t, d), "weight": data.normal(d, 4)}
        x.update({"bias": data.normal(d) if full else None, "state": data.normal(b, 3, d) if full else None})
        case(name, "causal-convolution", {}, x, eq.causal_convolution(**x))
        added = {"dweight": data.normal(d, 4), "dbias": data.normal(d)} if full else {}
        backward(f"{name}-backward", "causal-convolution-backward", {}, {**x, "bias": x["bias"] or eq.zeros(d)},
                 {"y": data.normal(b, t, d)}, eq.causal_convolution, fixed=("state",))
        take_sums(f"{name}-backward", added, without=["bias"])


def elementwise():
    for function, f in eq.ACTIVATIONS.items():
        name = f"activation-{function.replace('_', '-')}"
        data = Data(name)
        x = data.normal(37, deviation=3.0)
        case(name, "activation", {"function": function}, {"x": x}, {"y": mapped(f, x)})
        backward(f"{name}-backward", "activation-backward", {"function": function}, {"x": x}, {"y": data.normal(37)},
                 lambda x: {"y": mapped(f, x)})

    data = Data("elementwise")
    x, y = data.normal(37), data.normal(37)
    case("add-scaled", "add-scaled", {"factor": -1.5}, {"x": x, "y": y}, {"y": [b - 1.5 * a for a, b in zip(x, y)]})
    case("multiply", "multiply", {}, {"x": x, "y": y}, {"z": [a * b for a, b in zip(x, y)]})
    case("scale", "scale", {"factor": 0.3}, {"x": x}, {"x": eq.scaled(opt.single(0.3), x)})
    case("sum-of-squares", "sum-of-squares", {}, {"x": x}, {"sum": [math.fsum(a * a for a in x)]})
    matrix, sums = data.normal(21, 13), data.normal(13)
    totals = [math.fsum(column) for column in zip(*matrix)]
    case("column-sum", "column-sum", {}, {"x": matrix}, {"sums": totals})
    case("column-sum-accumulate", "column-sum", {}, {"x": matrix, "sums": sums}, {"sums": eq.plus(totals, sums)})
    source, destination = data.normal(2, 6, 5), data.normal(2, 9, 5)
    head = [a[:3] + b[3:] for a, b in zip(source, destination)]
    case("copy-tokens", "copy-tokens", {"count": 3}, {"source": source, "destination": destination}, {"destination": head})
    added = [[eq.plus(row, a[t - 2]) if 4 <= t < 8 else row for t, row in enumerate(b)] for a, b in zip(source, destination)]
    settings = {"count": 4, "source_first": 2, "destination_first": 4, "accumulate": True}
    case("copy-tokens-accumulate", "copy-tokens", settings, {"source": source, "destination": destination}, {"destination": added})

    for d, back in ((8, False), (7, True)):
        name = "rotate-back" if back else "rotate"
        data = Data(name)
        x, half = data.normal(2, 3, 2, d), d // 2
        angles = [[data.uniform(-3, 3) for _ in range(half)] for _ in range(3)]
        table = [[opt.single(math.cos(a)) for a in row] + [opt.single(math.sin(a)) for a in row] for row in angles]
        y = [[[rotated(head, row, -1 if back else 1) for head in token] for token, row in zip(sequence, table)] for sequence in x]
        case(name, "rotate", {"back": True} if back else {}, {"x": x, "table": table}, {"y": y})


def rotated(head, row, sign):
    half = len(row) // 2
    pairs = list(zip(head[:half], head[half:2 * half], row[:half], row[half:]))
    return [a * c - sign * b * s for a, b, c, s in pairs] + [b * c + sign * a * s for a, b, c, s in pairs] + head[2 * half:]


def embeddings_and_losses():
    data = Data("embedding")
    n, v, d = 9, 7, 10
    tokens = [data.random.randrange(v - 1) for _ in range(n)]
    table, dy = data.normal(v, d), data.normal(n, d)
    case("embedding", "embedding", {}, {"tokens": tokens, "table": table}, {"y": [table[i] for i in tokens]})
    sums = [list(row) for row in table]
    for token, row in zip(tokens, dy):
        sums[token] = eq.plus(sums[token], row)
    case("embedding-backward", "embedding-backward", {}, {"tokens": tokens, "dy": dy, "dtable": table}, {"dtable": sums})

    targets = [data.random.randrange(v) for _ in range(n)]
    targets[3] = -1
    x = {"logits": data.normal(n, v, deviation=3.0), "targets": targets}
    weight, h = data.normal(v, d), data.normal(n, d)
    scale, dlosses, before = 0.25, data.normal(n), data.normal(v, d)
    for name, x, forward in (
            ("cross-entropy", x, eq.cross_entropy),
            ("linear-cross-entropy", {"x": h, "weight": weight, "targets": targets},
             lambda x, weight, targets: eq.cross_entropy(eq.product(x, eq.transpose(weight)), targets))):
        result = forward(**x)
        case(name, name, {}, x, result)
        backward(f"{name}-backward", f"{name}-backward", {}, x, {"losses": dlosses}, forward, fixed=("targets",))
        both = f"{name}-with-gradient"
        backward(both, both, {"gradient_scale": scale}, x, {"losses": [scale] * n}, forward, fixed=("targets",))
        _, tensors = CASES[both]
        del tensors["in.dlosses"]
        tensors["out.losses"] = result["losses"]
        if name.startswith("linear"):
            for kind in ("backward", "with-gradient"):
                settings, tensors = CASES[f"{name}-{kind}"]
                CASES[f"{name}-{kind}-accumulate"] = (settings, dict(tensors))
                take_sums(f"{name}-{kind}-accumulate", {"dweight": before})


def commits():
    beta = {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}
    for op in ("adam", "adamw"):
        for label, extra in (
                ("scaled", {"gradient_scale": 0.25, "clear_gradient": True, "measure": True, "decays": False,
                            "moments": "float32"}),
                ("bfloat16", {"moments": "bfloat16", "seed": 12345678901234567890 if op == "adam" else 7,
                              "decays": True, "measure": False, "clear_gradient": False})):
            name = f"{op}-{label}"
            data = Data(name)
            r, c, steps = 9, 31, 3
            w, g = data.normal(r, c), data.normal(steps, r, c)
            now, m, v, changes = flat(w), [0.0] * (r * c), [0.0] * (r * c), []
            called = {**beta, **part(extra, "gradient_scale", "decays", "moments", "seed")}
            for step in range(steps):
                now, m, v, change = opt.adam(now, flat(g[step]), m, v, step + 1, decoupled=op == "adamw", **called)
                changes.append(change)
            rows = {k: [e[i * c:(i + 1) * c] for i in range(r)] for k, e in (("w", now), ("m", m), ("v", v))}
            if extra["clear_gradient"]:
                rows["g"] = eq.zeros(r, c)
            if extra["measure"]:
                rows["change"] = changes
            case(name, op, {**beta, **extra}, {"w": w, "g": g}, rows)

    for name, decoupled, extra in (
            ("gemm-adam", True, {}),
            ("gemm-adam-accumulated", False, {"gradient_scale": 0.5, "clear_gradient": True, "moments": "float32"}),
            ("gemm-adam-bfloat16", True, {"moments": "bfloat16", "seed": 3, "clear_gradient": False})):
        data = Data(name)
        rows, m, n = 11, 13, 10
        x, dy, w = data.normal(rows, m), data.normal(rows, n), data.normal(m, n)
        before = data.normal(m, n) if name == "gemm-adam-accumulated" else None
        g = eq.product(eq.transpose(x), dy)
        g = [eq.plus(*pair) for pair in zip(g, before)] if before else g
        called = part(extra, "gradient_scale", "moments", "seed")
        after = opt.adam(flat(w), flat(g), [0.0] * (m * n), [0.0] * (m * n), 1, decoupled=decoupled, **beta, **called)
        results = {k: [e[i * n:(i + 1) * n] for i in range(m)] for k, e in zip("wmv", after)}
        if before:
            results["accumulated"] = eq.zeros(m, n)
        case(name, "gemm-adam", {**beta, **extra, "decoupled": decoupled}, {"x": x, "dy": dy, "w": w, "accumulated": before}, results)

    moments = {"keep1": 0.9, "write1": 0.1, "keep2": 0.99, "write2": 0.01, "eps": 1e-3}
    for name, given, settings in (
            ("moment-commit", "w", {"lr": 0.1}),
            ("moment-commit-full", "wmvs", {
                "lr": 0.1, "gradient_scale": 0.5, **moments, "read_moment": 0.8, "read_gradient": 0.2, "decay": 0.05,
                "clear_gradient": True}),
            ("moment-commit-memories", "mv", {"lr": 0.0, **moments, "clear_gradient": False})):
        data = Data(name)
        names = {"w": "w", "m": "m", "v": "v", "s": "start"}
        x = {"g": data.normal(41), **{names[k]: data.uniform(0.1, 2, 41) for k in given}}
        case(name, "moment-commit", settings, x, opt.moment_commit(**x, **settings))


def ridges_and_mixtures():
    for name, rows, d, v, settings in (("ridge-wide", 21, 37, 1, {"delta": 0.02, "forget": 1.0}),
                                       ("ridge-forget-wide", 45, 18, 9, {"delta": 2.0, "forget": 0.9})):
        data = Data(name)
        x, y = data.normal(rows, d), data.normal(rows, v)
        case(name, "ridge", settings, {"x": x, "y": y}, eq.ridge(x, y, **settings))

    data = Data("mixture-weights")
    log_p, w = data.uniform(-9, -0.01, 40, 5), [0.5, 0.25, 0.125, 0.125, 0.0]
    for row in log_p[10:20]:
        row[0] = -math.inf
    case("mixture-weights", "mixture", {"share": 0.05}, {"log_p": log_p, "w": w}, eq.mixture(log_p, 0.05, w))


def main(arguments):
    for make in (scans, deep_memories, self_modifying_memories, attentions, products, norms, convolutions, elementwise,
                 embeddings_and_losses, commits, ridges_and_mixtures):
        make()
    if arguments == ["--check"]:
        return check(CASES, FOLDER)
    for name in arguments or CASES:
        with open(os.path.join(FOLDER, f"{name}.safetensors"), "wb") as file:
            file.write(written(*CASES[name]))
    print(f"{len(arguments or CASES)} cases written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
