"""Compares the files of this folder with the cases of make.py, and the others with the equations."""

import os

import equations as eq
from files import flat, mapped, read
from scalars import Scalar, gradients, value


def computed(metadata, tensors):
    """What equations.py makes of the inputs of a memory's case; None of other operations."""
    words = {"true": True, "false": False}
    settings = {k: words[v] if v in words else int(v) if v.isdigit() else v for k, v in metadata.items()}
    settings = {k: float(v) if isinstance(v, str) and k in ("scale", "eta_scale", "eta_bias", "alpha_bias", "delta", "forget",
                                                                "share") else v
                for k, v in settings.items()}
    x = {k[3:]: v for k, v in tensors.items() if k.startswith("in.")}
    op = settings.pop("op")
    if op == "scan-frozen":
        x["u"] = x.pop("v")
    function = {"scan": eq.scan, "scan-frozen": eq.scan, "mlp-memory": eq.deep_memory,
                "self-modifying": eq.self_modifying_one_head, "ridge": eq.ridge, "mixture": eq.mixture}.get(op)
    if op == "newton-schulz":
        return {"x": eq.newton_schulz(x["g"], settings["steps"])}
    if op == "scan-backward":
        weights = {k: x.pop(f"d{k}") for k in ("o", "s", "p")}
        given = {k: mapped(Scalar, v) for k, v in x.items()}
        results = eq.scan(**given, **settings)
        loss = Scalar(0.0)
        for key, weight in weights.items():
            for a, b in zip(flat(weight), flat(results[key])):
                loss = loss + a * b
        gradients(loss, [])
        return {f"d{k}": mapped(lambda e: e.gradient, v) for k, v in given.items()}
    return function(**x, **settings) if function else None


def differs(expected, actual):
    """Whether tensors differ by more than roundings of float32, relative to the largest element."""
    a, b = flat(expected), flat(mapped(value, actual))
    return len(a) != len(b) or max(abs(x - y) for x, y in zip(a, b)) > 3e-7 * (max(map(abs, a)) or 1)


def check(cases, folder):
    """Compares every file of the folder with its case, or with what the equations make of its inputs."""
    failures = others = 0
    files = sorted(f[:-12] for f in os.listdir(folder) if f.endswith(".safetensors"))
    for name in sorted({*files, *cases}):
        if name in cases:
            found = (name in files) and read(os.path.join(folder, f"{name}.safetensors"))
            metadata, tensors = cases[name]
            good = found and found[0] == metadata and found[1].keys() == tensors.keys()
            good = good and not any(differs(found[1][k], v) for k, v in tensors.items())
        else:
            metadata, tensors = read(os.path.join(folder, f"{name}.safetensors"))
            results = computed(metadata, tensors)
            others += results is not None
            good = not any(differs(v, results[k[4:]]) for k, v in tensors.items() if results and k.startswith("out."))
        if not good:
            print(f"{name} differs")
            failures += 1
    print(f"{len(cases)} cases of make.py and {others} others computed again, {failures} differ")
    return 1 if failures else 0
