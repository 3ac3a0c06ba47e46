"""``fused``: write an elementwise function once, run it without temporaries, hand it whole to a compiler.

A fused function is plain Python over arrays and numbers::

    @lc.fused
    def gelu(x):
        return 0.5 * x * (1.0 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))

    @lc.fused(into=("p", "m"))
    def momentum(p, g, m, lr, beta, nesterov):
        m = beta * m + g
        return p - lr * (g + beta * m if nesterov else m), m

It uses arithmetic, comparisons, ``np.where`` and NumPy's elementwise functions (``np.sqrt``, ``np.maximum``, any ufunc
with one result), all of which mean the same on one number and on an array, and it returns one value or a tuple. The
first call with arguments of given kinds traces it; from then on the calls run what the trace became:

- as NumPy calls over chunks that fit into the cache, into scratch memory that is made once per thread, so that nothing
  is allocated besides the results; large arrays are divided among threads (:func:`lunar_core.set_num_threads`);
- or as a kernel that a compiler (see :func:`fused`) made from the same program;
- step by step over whole arrays for operands that broadcast or are strided, and for arrays of another library (CuPy).

Arguments. Arrays are seen one element at a time; they broadcast. Python ints and floats (and tuples of them) may change
from call to call: what depends on them alone, such as ``1 - beta**step``, is computed once per call in Python's double
precision, then used as a weak scalar of the arrays' dtype. Booleans, strings and ``None`` select code: each value gets
a trace of its own. An ``if`` on a number is traced for both sides as needed; an ``if`` on an array is an error, use
``np.where``.

Numbers. Results are those of NumPy's dtype rules, except that float16 and bfloat16 are computed in float32 and rounded
once, at the end. NaN and infinity are computed as NumPy computes them, without warnings.
"""

from __future__ import annotations

from .function import Fused, forget_all, fused
from .plan import Plan, compilers
from .program import Compiler, Program, is_half
from .run import empty_aligned
from .trace import FusedError

__all__ = [
    "Compiler",
    "Fused",
    "FusedError",
    "Plan",
    "Program",
    "compilers",
    "empty_aligned",
    "forget_all",
    "fused",
    "is_half",
]
