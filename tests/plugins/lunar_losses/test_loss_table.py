"""What every loss does: one row each."""

from __future__ import annotations

import json

import numpy as np
import pytest
from loss_rows import ROWS, N, cast, part, prepared, tensors

import lunar_core as lc
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_core.testing.fake_device import FakeArray, fake_device
from lunar_core.testing.gradcheck import gradcheck

every = pytest.mark.parametrize("name", ROWS)
separable = pytest.mark.parametrize("name", [n for n, row in ROWS.items() if not row.whole])
with_elements = pytest.mark.parametrize("name", [n for n in ROWS if n != "composite"])


def loss_and_data(name, dtype=np.float64, **options):
    row = ROWS[name]
    return row.make(**options), cast(row.pred, dtype), cast(row.target, dtype)


def elements(name):
    loss, pred, target = loss_and_data(name, reduction="none")
    return loss(prepared(name, pred), target).detach().numpy()


def test_every_registered_loss_of_the_package_has_a_row():
    own = [n for n in lc.registry.names("loss") if lc.registry.info("loss", n).target.startswith("lunar_losses.")]
    assert sorted(own) == sorted(ROWS)


@every
def test_its_name_stands_for_its_class(name):
    assert type(ROWS[name].make()) is lc.registry.get("loss", name)


@every
def test_sum_and_weight_give_the_mean_and_the_sum(name):
    loss, pred, target = loss_and_data(name)
    total, weight = loss.terms(prepared(name, pred), target)
    fresh, _, _ = loss_and_data(name)
    assert fresh(prepared(name, pred), target).item() == pytest.approx(total.item() / weight, rel=1e-13)
    summed, _, _ = loss_and_data(name, reduction="sum")
    assert summed(prepared(name, pred), target).item() == pytest.approx(total.item(), rel=1e-13)


@with_elements
def test_the_elements_add_up_to_the_sum(name):
    loss, pred, target = loss_and_data(name, reduction="sum")
    each = elements(name)
    assert each.ndim and len(each) == N
    assert loss(prepared(name, pred), target).item() == pytest.approx(each.sum(), rel=1e-12)


@separable
def test_sums_and_weights_of_uneven_parts_add_up_to_the_whole(name):
    loss, pred, target = loss_and_data(name)
    whole = loss.terms(prepared(name, pred), target)
    totals = [0.0, 0.0]
    for cut in (slice(0, 1), slice(1, 5), slice(5, N)):
        total, weight = ROWS[name].make().terms(prepared(name, part(pred, cut)), part(target, cut))
        totals[0] += total.item()
        totals[1] += weight
    assert totals[0] == pytest.approx(whole[0].item(), rel=1e-12)
    assert totals[1] == pytest.approx(whole[1], rel=1e-13)


@separable
def test_a_sample_that_weighs_two_counts_like_two_samples(name):
    _, pred, target = loss_and_data(name)
    counts = np.array([2, 0, 1, 1, 0, 3])
    index = np.repeat(np.arange(N), counts)
    weighted = ROWS[name].make()(prepared(name, pred), target, counts)
    repeated = ROWS[name].make()(prepared(name, part(pred, index)), part(target, index))
    assert weighted.item() == pytest.approx(repeated.item(), rel=1e-12)


@with_elements
def test_a_mask_leaves_out_what_it_leaves_out(name):
    _, pred, target = loss_and_data(name)
    mask = np.array([True, False, True, True, False, True])
    total, weight = ROWS[name].make().terms(prepared(name, pred), target, mask)
    by_weight, weights = ROWS[name].make().terms(prepared(name, pred), target, mask.astype(np.float64))
    assert total.item() == by_weight.item() and weight == weights
    each = elements(name)
    expected = each[mask].sum() if name not in ("clip", "nt_xent") else (each * mask[:, None]).sum()
    assert total.item() == pytest.approx(expected, rel=1e-12)


@with_elements
def test_weights_of_another_shape_are_refused(name):
    loss, pred, target = loss_and_data(name)
    with pytest.raises(ShapeError, match="sample weights"):
        loss(prepared(name, pred), target, np.ones(N + 1))


def differentiable(name):
    """Tensors to differentiate by, and the loss as a function of them."""
    row = ROWS[name]
    xs = tensors(row.pred, requires_grad=True)
    several = isinstance(xs, tuple)

    def function(*inputs):
        return row.make(reduction="none" if name != "composite" else "mean")(
            prepared(name, tuple(inputs) if several else inputs[0]), row.target
        )

    return function, list(xs) if several else [xs]


@pytest.mark.parametrize("name", [n for n in ROWS if n != "ciou"])  # part of it is held fixed
def test_the_gradient_is_that_of_differences(name):
    function, xs = differentiable(name)
    if name == "masked_reconstruction":
        xs[1] = xs[1].detach()
    assert gradcheck(function, xs, rtol=1e-6, step=1e-5)


@every
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_is_that_of_the_prediction(name, dtype):
    loss, pred, target = loss_and_data(name, dtype)
    target = cast(ROWS[name].target, np.float64)
    xs = tensors(pred, requires_grad=True)
    value = loss(prepared(name, xs), target)
    assert value.dtype == dtype and value.shape == ()
    value.backward()
    for x in xs if isinstance(xs, tuple) else (xs,):
        assert x.grad is None or x.grad.dtype == dtype


@with_elements  # a sum of means is computed in single precision
def test_half_precision_gives_about_the_same(name):
    loss, pred, target = loss_and_data(name, np.float16)
    value = loss(prepared(name, pred), target)
    expected = ROWS[name].make()(prepared(name, cast(pred, np.float64)), target).item()
    assert value.dtype == np.float16 and value.item() == pytest.approx(expected, rel=2e-2, abs=2e-2)


@every
def test_it_says_the_same_twice(name):
    first, pred, target = loss_and_data(name)
    assert first(prepared(name, pred), target).item() == ROWS[name].make()(prepared(name, pred), target).item()


@pytest.mark.parametrize("name", [n for n, row in ROWS.items() if row.config])
def test_the_configuration_comes_back_as_the_same_loss(name):
    loss, pred, target = loss_and_data(name)
    config = json.loads(json.dumps(lc.to_config(loss)))
    assert config["@loss"] == name
    again = lc.from_config(config)
    assert type(again) is type(loss) and repr(again) == repr(loss)
    assert again(prepared(name, pred), target).item() == loss(prepared(name, pred), target).item()


@every
def test_unknown_hyperparameters_and_reductions_are_refused(name):
    with pytest.raises(HyperparameterError, match="bananas"):
        ROWS[name].make(bananas=3)
    with pytest.raises(HyperparameterError, match="reduction"):
        ROWS[name].make(reduction="avg")


@every
def test_its_docstring_says_what_it_computes_and_from_which_shapes(name):
    text = type(ROWS[name].make()).__doc__
    assert len(text.splitlines()) > 3
    assert "pred" in text or "boxes" in text


def on_device(data, **options):
    if isinstance(data, (tuple, list)):
        return tuple(on_device(one, **options) for one in data)
    if data is None:
        return None
    return lc.Tensor(FakeArray(data.copy()), **(options if data.dtype.kind == "f" else {}))


@every
def test_it_stays_on_the_device(name):
    loss, pred, target = loss_and_data(name, np.float32)
    expected = loss(prepared(name, pred), target).item()
    fresh, _, _ = loss_and_data(name)
    with fake_device() as device:
        xs = on_device(pred, requires_grad=True)
        value = fresh(prepared(name, xs), on_device(target))
        value.backward()
        assert name == "ctc" or device.synchronizations == 0  # the labels of a CTC are read on the host
        assert value.item() == pytest.approx(expected, rel=1e-4)
