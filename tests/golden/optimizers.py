"""The elementwise commits of docs/specification.md, section 3, over flat lists of float64, and bfloat16 rounding."""

import math
import struct


def single(x):
    """x rounded to float32."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


def bits_of(x):
    return struct.unpack("<I", struct.pack("<f", x))[0]


def from_bits(bits):
    return struct.unpack("<f", struct.pack("<I", bits & 0xFFFFFFFF))[0]


def bfloat16(x):
    """x rounded to bfloat16, to nearest even."""
    bits = bits_of(x)
    return from_bits((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000)


def philox(seed, stream, index):
    """Philox4x32-10 (Salmon et al., SC 2011) with the key seed and the counter (index, stream): four words."""
    c = [index & 0xFFFFFFFF, index >> 32, stream & 0xFFFFFFFF, stream >> 32]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def random_bits(seed, step, element):
    """The 16 random bits of an element: 16 blocks of the generator serve 128 elements."""
    i = element % 128 // 2
    word = philox(seed, step, 16 * (element // 128) + i % 32 // 2)[2 * (i // 32) + i % 2]
    return word >> 16 * (element % 2) & 0xFFFF


def rounded_by(x, random):
    """x as bfloat16, with random bits added below those that are kept."""
    return from_bits((bits_of(x) + random) & 0xFFFF0000)


def adam(w, g, m, v, step, lr, beta1, beta2, eps, weight_decay, decoupled, gradient_scale=1.0, decays=True,
         moments="float32", seed=0):
    """One step; gives w, m, v and the sums of squares of w's change and of w before."""
    decay = weight_decay if decays else 0.0
    change = square = 0.0
    w, m, v = list(w), list(m), list(v)
    for i, old in enumerate(w):
        x = gradient_scale * g[i] + (0.0 if decoupled else decay * old)
        m[i] = beta1 * m[i] + (1 - beta1) * x
        v[i] = beta2 * v[i] + (1 - beta2) * x * x
        move = m[i] / (1 - beta1 ** step) / (math.sqrt(v[i] / (1 - beta2 ** step)) + eps)
        w[i] = old - lr * move - (lr * decay * old if decoupled else 0.0)
        if moments == "bfloat16":
            random = random_bits(seed, step, i)
            m[i], v[i] = rounded_by(m[i], random), rounded_by(v[i], random ^ 0xFFFF)
        change += (w[i] - old) ** 2
        square += old * old
    return w, m, v, [change, square]


def moment_commit(g, w=None, m=None, v=None, start=None, lr=0.0, gradient_scale=1.0, keep1=0.0, write1=0.0, keep2=0.0,
                  write2=0.0, read_moment=0.0, read_gradient=1.0, decay=0.0, eps=0.0, clear_gradient=False):
    results = {}
    g = [gradient_scale * x for x in g]
    if m:
        m = results["m"] = [keep1 * a + write1 * x for a, x in zip(m, g)]
    if v:
        v = results["v"] = [keep2 * a + write2 * x * x for a, x in zip(v, g)]
    if w:
        after = []
        for i, x in enumerate(g):
            read = read_moment * (m[i] if m else 0.0) + read_gradient * x
            begin = start[i] if start else w[i]
            after.append(begin - (decay * begin + lr * (read / (math.sqrt(v[i]) + eps) if v else read)))
        results["change"] = [sum((a - b) ** 2 for a, b in zip(after, w)), sum(b * b for b in w)]
        results["w"] = after
    if clear_gradient:
        results["g"] = [0.0] * len(g)
    return results
