"""What PyTorch and flash-linear-attention take for the work of `nl bench --large`, and both side by side.

gpu_peers.py [--scale N] [--device cuda|cpu]   one JSON object a line: name, size, dtype, median_ms; or name and missing
gpu_peers.py --table OURS PEERS                the Markdown table of both files, medians over the rounds in them
gpu_peers.py --versions

Names and sizes are those of src/nl/Bench/LargeCases.cs. Times are of the wall clock over calls that are waited for
together, as there. Not run on a GPU; on a processor without flash-linear-attention.
"""

import argparse
import json
import statistics
import time

try:
    import torch
    TORCH_MISSING = None
except ImportError as error:
    TORCH_MISSING = f"torch cannot be imported: {error}"

BUDGET, WARM_UP, LEAST = 1.0, 0.2, 0.02
BATCH, HEADS, STEPS = 8, 16, 5


def versions():
    names = []
    for module in ("torch", "triton", "fla"):
        try:
            loaded = __import__(module)
            names.append(f"{module} {getattr(loaded, '__version__', '?')}")
        except Exception as error:  # Whatever a broken installation throws.
            names.append(f"no {module} ({error})")
    return ", ".join(names)


def median_ms(run, device):
    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    run()
    wait()
    calls, start = 0, time.perf_counter()
    while calls == 0 or time.perf_counter() - start < WARM_UP:
        run()
        wait()
        calls += 1
    calls = max(1, int(LEAST * calls / (time.perf_counter() - start)))
    times, start = [], time.perf_counter()
    while not times or (len(times) < 200 and time.perf_counter() - start < BUDGET):
        repeat = time.perf_counter()
        for _ in range(calls):
            run()
        wait()
        times.append((time.perf_counter() - repeat) / calls)
    return statistics.median(times) * 1e3


def scan(dim, time_steps, gated, backward, device):
    """The chunked kernels in bfloat16, with data like ours: keys of about length one, rates in (0, 1), decays near one."""
    if gated:
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule as rule
    else:
        from fla.ops.delta_rule import chunk_delta_rule as rule

    def uniform(*shape, low=-1.0, high=1.0, dtype=torch.bfloat16):
        x = torch.empty(shape, device=device, dtype=torch.float32).uniform_(low, high).to(dtype)
        return x.requires_grad_(backward)

    key = (3 / dim) ** 0.5
    tokens = (BATCH, time_steps, HEADS, dim)
    inputs = {"q": uniform(*tokens), "k": uniform(*tokens, low=-key, high=key), "v": uniform(*tokens)}
    inputs["beta"] = uniform(*tokens[:3], low=0.0)
    if gated:
        inputs["g"] = uniform(*tokens[:3], low=-0.1, high=0.0, dtype=torch.float32)
    upstream = uniform(*tokens).detach()

    def forward():
        return rule(**inputs, scale=dim**-0.5)[0]

    def both():
        for x in inputs.values():
            x.grad = None
        forward().backward(upstream)

    if backward:
        return both
    return torch.no_grad()(forward)


def gemm(side, dtype, device):
    a, b = (torch.empty(side, side, device=device).uniform_(-1, 1).to(dtype) for _ in range(2))
    c = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=c)


def newton_schulz(side, dtype, device):
    g = torch.empty(side, side, device=device).uniform_(-1, 1)

    def run():
        x = g.to(dtype)
        x = x / x.norm()
        for _ in range(STEPS):
            a = x @ x.T
            x = torch.addmm(x, torch.addmm(a, a, a, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
        return x

    return torch.no_grad()(run)


def adamw(pieces, length, device):
    parameters = [torch.nn.Parameter(torch.empty(length, device=device).uniform_(-1, 1)) for _ in range(pieces)]
    for p in parameters:
        p.grad = torch.empty_like(p).uniform_(-1, 1)
    options = {"fused": True} if device == "cuda" else {"foreach": True}
    return torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.01, **options).step


def copy(length, device):
    source, target = (torch.zeros(length, device=device) for _ in range(2))
    return lambda: target.copy_(source)


def cases(scale, device):
    """(name, size, dtype, what makes the call)"""
    length = (1 << 28) // scale
    yield "copy", f"{length} floats", "float32", lambda: copy(length, device)
    steps = 4096 // scale
    for dim in (64, 128):
        for gated in (False, True):
            for backward in (False, True):
                name = f"scan-{'gated' if gated else 'delta'}{'-backward' if backward else ''}-{dim}"
                yield (name, f"B={BATCH} H={HEADS} T={steps} D={dim}", "bfloat16",
                       lambda dim=dim, gated=gated, backward=backward: scan(dim, steps, gated, backward, device))
    for dtype in ("float32", "bfloat16"):
        kind = getattr(torch, dtype)
        yield "gemm", f"{4096 // scale}³", dtype, lambda kind=kind: gemm(4096 // scale, kind, device)
        yield "newton-schulz", f"{2048 // scale}²", dtype, lambda kind=kind: newton_schulz(2048 // scale, kind, device)
    for name, pieces in (("adamw-100m", 24), ("adamw-1b", 240)):
        piece = (1 << 22) // scale
        yield name, f"{pieces} tensors of {piece}", "float32", lambda pieces=pieces, piece=piece: adamw(pieces, piece, device)


def measure(scale, device):
    def say(**fields):
        print(json.dumps(fields, ensure_ascii=False), flush=True)

    if TORCH_MISSING:
        say(name="torch", missing=TORCH_MISSING)
        return
    if device == "cuda" and not torch.cuda.is_available():
        say(name="torch", missing=f"torch {torch.__version__} sees no GPU")
        return
    # Products of float32 are of float32.
    torch.backends.cuda.matmul.allow_tf32 = False
    for name, size, dtype, make in cases(scale, device):
        try:
            say(name=name, size=size, dtype=dtype, median_ms=median_ms(make(), device))
        except Exception as error:  # A library that lacks or refuses this case; the others are measured.
            say(name=name, missing=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        if device == "cuda":
            torch.cuda.empty_cache()


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def table(ours_path, peers_path):
    ours, peers = read(ours_path), read(peers_path)

    def median(lines, field, **wanted):
        values = [x[field] for x in lines if field in x and all(x.get(k) == v for k, v in wanted.items())]
        return statistics.median(values) if values else None

    def number(value, digits=3):
        return "–" if value is None else f"{value:.{digits}g}" if value < 1000 else f"{value:,.0f}"

    def ratio(peer, our):
        return "–" if peer is None or our is None else f"{peer / our:.2f}"

    print("Medians in ms over the rounds. Float32: nothing is rounded; bfloat16: of ours, operands of products may be,")
    print("tensors are float32; of the peers (PyTorch, flash-linear-attention), everything is. A ratio above 1: ours is faster.\n")
    print("| work | ours | peer | ratio | ours, bfloat16 | peer, bfloat16 | ratio | ours reaches |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    seen = {}
    for x in ours:
        seen.setdefault((x["name"], x["size"]), x["title"])
    for (name, size), title in seen.items():
        key = {"name": name, "size": size}
        cells = []
        best = None
        for dtype in ("float32", "bfloat16"):
            our, peer = median(ours, "median_ms", products=dtype, **key), median(peers, "median_ms", dtype=dtype, **key)
            cells += [number(our), number(peer), ratio(peer, our)]
            best = dtype if our is not None else best
        gbs, gflops, tokens = (median(ours, field, products=best, **key) for field in ("gbs", "gflops", "tokens_per_s"))
        if tokens is not None:
            rate = f"{tokens:,.0f} tokens/s"
        elif gflops is not None:
            rate = f"{number(gflops / 1e3)} TFLOP/s"
        else:
            rate = f"{number(gbs)} GB/s, {median(ours, 'share_of_floor', products=best, **key):.0%} of the limit measured"
        print(f"| {title}, {size} (`{name}`) | {' | '.join(cells)} | {rate} |")
    missing = {}
    for x in peers:
        if "missing" in x:
            missing.setdefault(x["missing"], {})[x["name"]] = None
    for reason, names in missing.items():
        print(f"\nNot measured: {', '.join(names)} ({reason}).")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--table", nargs=2, metavar=("OURS", "PEERS"))
    parser.add_argument("--versions", action="store_true")
    arguments = parser.parse_args()
    if arguments.versions:
        print(versions())
    elif arguments.table:
        table(*arguments.table)
    else:
        measure(arguments.scale, arguments.device)


if __name__ == "__main__":
    main()
