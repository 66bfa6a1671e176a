"""Float64 numbers that know where they came from, so that gradients need no formula of their own.

A Scalar is one number of a computation. `gradients(loss, inputs)` goes back through everything that the loss was made of
(reverse mode): the equations are written once, forward, and what they give for `Scalar`s is differentiated exactly.
Every function here takes plain floats as well.
"""

import math


class Scalar:
    """A number, the scalars it was made of, and the derivative of it by each of them."""

    __slots__ = ("value", "parents", "gradient")

    def __init__(self, value, parents=()):
        self.value, self.parents, self.gradient = value, parents, 0.0

    def __add__(self, other):
        if isinstance(other, Scalar):
            return Scalar(self.value + other.value, ((self, 1.0), (other, 1.0)))
        return Scalar(self.value + other, ((self, 1.0),))

    def __mul__(self, other):
        if isinstance(other, Scalar):
            return Scalar(self.value * other.value, ((self, other.value), (other, self.value)))
        return Scalar(self.value * other, ((self, other),))

    def __neg__(self):
        return Scalar(-self.value, ((self, -1.0),))

    def __sub__(self, other):
        return self + (-other)

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        return self * (1.0 / other)

    def __rtruediv__(self, other):
        inverse = 1.0 / self.value
        return Scalar(other * inverse, ((self, -other * inverse * inverse),))

    __radd__, __rmul__ = __add__, __mul__


def value(x):
    return x.value if isinstance(x, Scalar) else x


def _function(f, derivative):
    def apply(x):
        if isinstance(x, Scalar):
            return Scalar(f(x.value), ((x, derivative(x.value)),))
        return f(x)

    return apply


exp = _function(math.exp, math.exp)
log = _function(math.log, lambda x: 1.0 / x)
sqrt = _function(math.sqrt, lambda x: 0.5 / math.sqrt(x))
sigmoid = _function(lambda x: 1.0 / (1.0 + math.exp(-x)), lambda x: math.exp(-x) / (1.0 + math.exp(-x)) ** 2)
softplus = _function(lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))), sigmoid)


def _density(x):
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _cumulative(x):
    return math.erfc(-x / math.sqrt(2)) / 2


# GELU with erf, its derivative, and the derivative of that.
gelu_slope = _function(lambda x: _cumulative(x) + x * _density(x), lambda x: (2 - x * x) * _density(x))
gelu = _function(lambda x: x * _cumulative(x), lambda x: _cumulative(x) + x * _density(x))


def gradients(loss, inputs):
    """d loss / d input for each of a list of scalars."""
    order, seen, stack = [], set(), [(loss, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((parent, False) for parent, _ in node.parents)
    for node in order:
        node.gradient = 0.0
    loss.gradient = 1.0
    for node in reversed(order):
        for parent, derivative in node.parents:
            parent.gradient += node.gradient * derivative
    return [x.gradient if id(x) in seen else 0.0 for x in inputs]
