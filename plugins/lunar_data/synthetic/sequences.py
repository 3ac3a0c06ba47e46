"""Sequence problems with a known answer at every place."""

from __future__ import annotations

import numpy as np

from lunar_core.component import field, in_range, one_of, positive
from lunar_core.errors import HyperparameterError

from .base import Drawn

IGNORED = -100
"""Target of the places that ask for no answer: ``CrossEntropy(ignore_index=-100)`` leaves them out."""

BLANK, SEPARATOR, FIRST = 0, 1, 2


class Copy(Drawn):
    """The copying memory problem: say again, after a delay, what was said at the start.

    ``x``, ``y`` int64 (n, delay + 2 length). The input is ``length`` symbols out of 2..symbols+1, then ``delay`` - 1
    blanks (0), one sign to begin (1) and ``length`` blanks; the target is blank until the last ``length`` places, which
    repeat the symbols. A model without memory does no better than length ln(symbols) / (delay + 2 length) nats per place.

    Source: S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997, in the form of
    M. Arjovsky, A. Shah and Y. Bengio, arXiv:1511.06464, section 4.1 (``length=10``, ``symbols=8``).
    """

    length: int = field(default=10, validator=positive, doc="symbols to remember")
    delay: int = field(default=100, validator=positive, doc="places between the last symbol and the first answer")
    symbols: int = field(default=8, validator=positive, doc="size of the alphabet")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        said = rng.integers(FIRST, FIRST + self.symbols, (self.n, self.length))
        x = np.zeros((self.n, self.delay + 2 * self.length), np.int64)
        y = np.zeros_like(x)
        x[:, : self.length] = said
        x[:, self.length + self.delay - 1] = SEPARATOR
        y[:, -self.length :] = said
        return x, y

    @property
    def classes(self) -> tuple[str, ...]:
        return _names(self.symbols)


class _Rearranged(Drawn):
    """Symbols, a separator, then blanks in whose places the answer is due."""

    length: int = field(default=10, validator=positive, doc="most symbols of a sequence")
    shortest: int | None = field(default=None, validator=positive, doc="fewest symbols; default, as many as the most")
    symbols: int = field(default=8, validator=positive, doc="size of the alphabet")

    def answer(self, said: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        shortest = self.length if self.shortest is None else self.shortest
        if shortest > self.length:
            raise HyperparameterError(f"{type(self).__name__}: shortest={shortest} is more than length={self.length}")
        lengths = rng.integers(shortest, self.length + 1, self.n)
        said = rng.integers(FIRST, FIRST + self.symbols, (self.n, self.length))
        x = np.zeros((self.n, 2 * self.length + 1), np.int64)
        y = np.full_like(x, IGNORED)
        for i, k in enumerate(lengths):
            x[i, :k] = said[i, :k]
            x[i, k] = SEPARATOR
            y[i, k + 1 : 2 * k + 1] = self.answer(said[i, :k])
        return x, y

    @property
    def classes(self) -> tuple[str, ...]:
        return _names(self.symbols)


class Reverse(_Rearranged):
    """Say a sequence backwards.

    ``x``, ``y`` int64 (n, 2 length + 1): k symbols out of 2..symbols+1, a separator (1), blanks (0); the target is -100
    up to the separator, then the k symbols in reverse order, then -100. k is uniform on ``shortest``..``length``.
    """

    def answer(self, said: np.ndarray) -> np.ndarray:
        return said[::-1]


class Sort(_Rearranged):
    """Say a sequence in ascending order.

    ``x``, ``y`` int64 (n, 2 length + 1): k symbols out of 2..symbols+1, a separator (1), blanks (0); the target is -100
    up to the separator, then the k symbols in ascending order, then -100. k is uniform on ``shortest``..``length``.
    """

    def answer(self, said: np.ndarray) -> np.ndarray:
        return np.sort(said)


class Addition(Drawn):
    """Sums of two numbers, digit by digit.

    ``x``, ``y`` int64 (n, 3 digits + 3): the digits of a, a plus sign, those of b, an equals sign, then blanks; the target
    is -100 up to the equals sign and then the digits + 1 digits of a + b. Digit d is token d, then come plus
    (``base``), equals (``base + 1``) and blank (``base + 2``). Numbers have leading zeros and are uniform on
    0..base^digits-1. With ``reverse`` all three are written with the units first.
    """

    digits: int = field(default=3, validator=in_range(1, 18), doc="digits of each number")
    base: int = field(default=10, validator=in_range(2, 36), doc="base of the numbers")
    reverse: bool = field(default=False, doc="units first")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        d = self.digits
        first, second = rng.integers(0, self.base, (2, self.n, d))  # units first
        total, carry = np.zeros((self.n, d + 1), np.int64), np.zeros(self.n, np.int64)
        for i in range(d):
            carry, total[:, i] = np.divmod(first[:, i] + second[:, i] + carry, self.base)
        total[:, d] = carry
        turn = slice(None) if self.reverse else slice(None, None, -1)
        x = np.full((self.n, 3 * d + 3), self.base + 2, np.int64)
        y = np.full_like(x, IGNORED)
        x[:, :d], x[:, d], x[:, d + 1 : 2 * d + 1], x[:, 2 * d + 1] = (
            first[:, turn],
            self.base,
            second[:, turn],
            self.base + 1,
        )
        y[:, 2 * d + 2 :] = total[:, turn]
        return x, y

    @property
    def classes(self) -> tuple[str, ...]:
        return (*"0123456789abcdefghijklmnopqrstuvwxyz"[: self.base], "+", "=", "_")


class Dyck(Drawn):
    """Words of brackets, balanced or not.

    ``x`` int64 (n, length), ``y`` int64 (n,): 1 for balanced. Token k < ``kinds`` opens a bracket of kind k, token
    ``kinds`` + k closes it. Every second word is balanced: its shape is uniform over all Dyck paths of that length (cycle lemma
    of A. Dvoretzky and Th. Motzkin, 1947), the kinds are uniform. The others are such words with one bracket replaced by
    another, which never is balanced; they cannot be told by counting alone unless there is one kind.

    Source of the language: N. Chomsky and M.-P. Schuetzenberger, "The algebraic theory of context-free languages", 1963.
    """

    length: int = field(default=20, validator=positive, doc="brackets in a word, an even number")
    kinds: int = field(default=2, validator=positive, doc="kinds of brackets")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        if self.length % 2:
            raise HyperparameterError(f"Dyck: balanced words have an even length, got length={self.length}")
        x = np.stack([self._word(rng) for _ in range(self.n)])
        y = rng.permutation(np.arange(self.n) % 2)
        place = rng.integers(0, self.length, self.n)
        shift = rng.integers(1, 2 * self.kinds, self.n) if self.kinds > 1 else np.ones(self.n, np.int64)
        rows = np.arange(self.n)
        spoiled = (x[rows, place] + shift) % (2 * self.kinds)
        x[rows, place] = np.where(y == 1, x[rows, place], spoiled)
        return x, y.astype(np.int64)

    def _word(self, rng: np.random.Generator) -> np.ndarray:
        half = self.length // 2
        # One step down more than up: exactly one rotation stays >= 0 until its last step, which is left away.
        steps = rng.permutation(np.repeat([1, -1], [half, half + 1]))
        lowest = int(np.argmin(np.cumsum(steps)))
        path = np.roll(steps, -(lowest + 1))[:-1]
        kinds, word, waiting = rng.integers(0, self.kinds, half), np.empty(self.length, np.int64), []
        opened = 0
        for i, step in enumerate(path):
            if step > 0:
                waiting.append(kinds[opened])
                word[i] = kinds[opened]
                opened += 1
            else:
                word[i] = self.kinds + waiting.pop()
        return word

    @property
    def classes(self) -> tuple[str, ...]:
        return ("unbalanced", "balanced")


class AddingProblem(Drawn):
    """Add the two numbers that are marked in a long sequence.

    ``x`` float32 (n, length, 2): numbers uniform on [0, 1), and a channel that is 1 at two places, one in each half, else 0;
    ``y`` float32 (n, 1) is the sum of the two numbers. Always answering 1 has a mean squared error of 1/6.

    Source: S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9(8), 1997, in the form of
    Q. Le, N. Jaitly and G. Hinton, arXiv:1504.00941, section 4.1.
    """

    length: int = field(default=100, validator=in_range(2, 10**6), doc="numbers in a sequence")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        x = np.zeros((self.n, self.length, 2), np.float32)
        x[:, :, 0] = rng.random((self.n, self.length), np.float32)
        half, rows = self.length // 2, np.arange(self.n)
        first, second = rng.integers(0, half, self.n), rng.integers(half, self.length, self.n)
        x[rows, first, 1] = x[rows, second, 1] = 1
        return x, (x[rows, first, 0] + x[rows, second, 0])[:, None]


class ModularArithmetic(Drawn):
    """All equations a o b = c modulo a prime: where models are seen to generalise long after they have memorised.

    ``x`` int64 (N, 4): the tokens a, o, b, =, where numbers are their own tokens, o is ``modulus`` and = is
    ``modulus + 1``; ``y`` int64 (N,) is c. All pairs, a and b in 0..modulus-1 (b > 0 for ``divide``, which is
    multiplication by the inverse), in random order; ``n`` gives only the first n of them.

    Source: A. Power et al., "Grokking", arXiv:2201.02177, appendix A.1 (``modulus=97``).
    """

    n: int | None = field(default=None, validator=positive, doc="so many equations; default, all")  # type: ignore[assignment]
    modulus: int = field(default=97, validator=in_range(2, 10_000), doc="a prime number for 'divide'")
    operation: str = field(default="add", validator=one_of("add", "subtract", "multiply", "divide"), doc="what o is")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        p = self.modulus
        a, b = np.divmod(np.arange(p * p), p)
        if self.operation == "divide":
            if any(p % k == 0 for k in range(2, int(p**0.5) + 1)):
                raise HyperparameterError(f"ModularArithmetic: division needs a prime modulus, got {p}")
            a, b = a[b > 0], b[b > 0]
            inverse = np.array([0, *(pow(k, -1, p) for k in range(1, p))])
            c = a * inverse[b] % p
        else:
            c = {"add": a + b, "subtract": a - b, "multiply": a * b}[self.operation] % p
        x = np.stack([a, np.full_like(a, p), b, np.full_like(a, p + 1)], axis=1)
        order = rng.permutation(len(x))[: self.n]
        if self.n is not None and self.n > len(x):
            raise HyperparameterError(f"ModularArithmetic: n={self.n} is more than the {len(x)} equations there are")
        return x[order], c[order]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(map(str, range(self.modulus)))


def _names(symbols: int) -> tuple[str, ...]:
    return ("blank", "separator", *(f"symbol {k}" for k in range(symbols)))
