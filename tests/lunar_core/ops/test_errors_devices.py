"""Arrays of two devices in one call: every family of ops refuses them and names the op and both devices."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import DeviceError
from lunar_core.testing import fake_device

# x, m and i lie on the host, y, n and j on the other device
CASES = """
add: x + y; add: y + x; where: ops.where(y > 0, x, x); clip: ops.clip(x, y); lerp: ops.lerp(x, y, 0.5)
isclose: ops.isclose(x, y); bitwise_and: ops.bitwise_and(i, j); maximum: ops.maximum(x, y); logaddexp: ops.logaddexp(x, y)
concat: ops.concat([x, y]); concat: ops.diff(x, prepend=y); prelu: ops.prelu(x, y[0, :1])
matmul: x @ y.T; dot: ops.dot(x, y.T); outer: ops.outer(x, y); einsum: ops.einsum("ij,ij->", x, y); kron: ops.kron(x, y)
tensordot: ops.tensordot(x, y.T, 1); cross: ops.cross(x, y); solve: ops.solve(m, n); lstsq: ops.lstsq(m, n)
linear: ops.linear(x, n); take: ops.take(x, j[0]); take: ops.take(y, i[0]); take_along_axis: ops.take_along_axis(x, j, 0)
gather: ops.gather(y, 0, i); scatter: ops.scatter(x, 0, j, x); scatter: ops.scatter(x, 0, i, y)
scatter_add: ops.scatter_add(x, 0, i, y); embedding: ops.embedding(j, x); searchsorted: ops.searchsorted(x[0], y)
bincount: ops.bincount(i[0], weights=y[0]); getitem: x[j[0]]; getitem: y[i[0]]; getitem: x[y > 0]
getitem: x.at[j[0]].multiply(2.0); index_put: x.at[0].set(y[0]); getitem: x.__setitem__(0, y[0])
getitem: x.__setitem__(j[0], 1.0)
"""
TABLE = [tuple(case.strip().split(": ", 1)) for case in CASES.replace("\n", ";").split(";") if case.strip()]


@pytest.mark.parametrize(("op", "call"), TABLE, ids=[call for _, call in TABLE])
def test_arrays_of_two_devices_are_refused_by_name(op, call):
    x, m, i = np.arange(6.0).reshape(2, 3), np.eye(3), np.array([[0, 1, 1], [1, 0, 0]])
    with fake_device():
        host = {k: lc.tensor(v) for k, v in {"x": x, "m": m, "i": i}.items()}
        there = {k: lc.tensor(v, device="fake") for k, v in {"y": x, "n": m, "j": i}.items()}
        with pytest.raises(DeviceError, match="cpu, fake") as caught:
            eval(call, {"ops": ops, **host, **there})
        assert caught.value.message.startswith(f"{op}: inputs lie on different devices")
        assert ".to(" in caught.value.hint


def test_histogram_names_the_rule():
    with fake_device(), pytest.raises(DeviceError, match="histogram: x, bins and weights lie on different devices"):
        ops.histogram(lc.ones(3), weights=lc.ones(3, device="fake"))


def test_writing_by_index_runs_on_the_device_alone():
    with fake_device() as device:
        x = lc.tensor(np.arange(6.0).reshape(2, 3), device="fake", requires_grad=True)
        rows = lc.tensor([1, 0], device="fake")
        for write in (lambda p: p.set(7.0), lambda p: p.add(1.0), lambda p: p.set(x[0] * 2)):
            write(x.at[rows]).sum().backward()
        x.at[:1].max(x[1]).sum().backward()
        assert device.synchronizations == 0 and x.grad.device == "fake"
