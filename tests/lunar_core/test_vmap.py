"""vmap computes what a loop over the examples computes, for every op, and says what it cannot do."""

import warnings

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.batched import _warn_slow
from lunar_core.dtypes import is_differentiable
from lunar_core.errors import GradientError, HyperparameterError, ShapeError, StateError
from lunar_core.op import OPS, Op, Sample

SIZE = 3


def as_list(out):
    return list(out) if isinstance(out, (tuple, list)) else [out]


def examples(array, mapped):
    """Slightly different examples of a sample's array; integers and truth values stay as they are."""
    if not mapped:
        return lc.tensor(array)
    factors = [1.0, 1.01, 0.99] if is_differentiable(array.dtype) else [1, 1, 1]
    return lc.tensor(np.stack([(array * k).astype(array.dtype) for k in factors]))


@pytest.mark.filterwarnings("ignore:vmap. .* has no batching rule:RuntimeWarning")
@pytest.mark.parametrize("name", sorted(OPS))
def test_an_op_over_examples_equals_the_loop(name):
    op = OPS[name]
    for number, sample in enumerate(op.samples()):
        places = [i for i, a in enumerate(sample.args) if isinstance(a, np.ndarray)]
        for mapped in {tuple(places), tuple(places[:1]), tuple(places[-1:])} - {()}:
            args = [examples(a, i in mapped) if isinstance(a, np.ndarray) else a for i, a in enumerate(sample.args)]
            axes = tuple(0 if i in mapped else None for i in range(len(args)))
            with np.errstate(all="ignore"):
                got = lc.vmap(lambda *xs, op=op, s=sample: tuple(as_list(op(*xs, **s.static))), axes)(*args)
                rows = [
                    as_list(op(*[a[j] if i in mapped else a for i, a in enumerate(args)], **sample.static))
                    for j in range(SIZE)
                ]
            for k, result in enumerate(got):
                np.testing.assert_allclose(
                    result.numpy(),
                    np.stack([row[k].numpy() for row in rows]),
                    rtol=1e-9,
                    atol=1e-10,
                    err_msg=f"{name}, sample {number}, mapped {mapped}",
                )


def test_an_op_without_a_rule_is_applied_to_each_example_with_one_warning_that_names_it():
    op = OPS.get("test_vmap_cube") or Op(
        "test_vmap_cube",
        lambda xp, x: x**3,
        lambda F, g, x, need: (g * 3 * x * x,),
        save=0,
        abstract=lambda x: x,
        samples=[Sample((np.array([1.0, 2.0]),))],
    )
    try:
        _warn_slow.cache_clear()
        x = lc.tensor([[1.0, 2.0], [3.0, 4.0]])
        with pytest.warns(RuntimeWarning, match="test_vmap_cube has no batching rule"):
            assert lc.vmap(op)(x).tolist() == [[1, 8], [27, 64]]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert lc.vmap(lc.grad(lambda x: op(x).sum()))(x).tolist() == [[3, 12], [27, 48]]
    finally:
        OPS.pop("test_vmap_cube")


def test_per_sample_gradients_of_a_model_are_one_line_and_add_up_to_the_gradient():
    layers, rng = lc.layers, np.random.default_rng(0)
    lc.seed(0)
    model = layers.Sequential(
        layers.Conv2D(4, 3, padding="same"), layers.ReLU(), layers.MaxPool2D(2), layers.Flatten(),
        layers.LayerNorm(), layers.Dense(5),
    )  # fmt: skip
    xs, ys = lc.tensor(rng.normal(size=(6, 2, 8, 8))), lc.tensor(rng.integers(0, 5, 6))
    model(xs)
    criterion, params = lc.losses["cross_entropy"](), dict(model.named_parameters())

    def loss(p, x, y):
        return criterion(lc.functional_call(model, p, lc.ops.expand_dims(x, 0)), lc.ops.expand_dims(y, 0))

    per_sample = lc.vmap(lc.grad(loss), in_axes=(None, 0, 0))(params, xs, ys)
    criterion(model(xs), ys).backward()
    for name, parameter in params.items():
        assert per_sample[name].shape == (6, *parameter.shape)
        one = lc.grad(loss)(params, xs[3], ys[3])[name]
        np.testing.assert_allclose(per_sample[name].numpy()[3], one.numpy(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(per_sample[name].numpy().mean(0), parameter.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_models_of_an_ensemble_run_at_once_by_mapping_over_their_parameters():
    model = lc.layers.Dense(3, in_features=4)
    stacked = {
        name: lc.tensor(np.random.default_rng(1).normal(size=(7, *p.shape))) for name, p in model.named_parameters()
    }
    x = lc.tensor(np.random.default_rng(2).normal(size=(5, 4)))
    out = lc.vmap(lambda p: lc.functional_call(model, p, x))(stacked)
    assert out.shape == (7, 5, 3)
    expected = x.numpy() @ stacked["weight"].numpy()[2].T + stacked["bias"].numpy()[2]
    np.testing.assert_allclose(out.numpy()[2], expected, rtol=1e-12)


def test_batch_norm_inside_takes_each_examples_own_statistics():
    x = lc.tensor(np.random.default_rng(3).normal(size=(3, 4, 2, 5)))
    out = lc.vmap(lambda x: lc.ops.batch_norm(x)[0])(x)
    for i in range(3):
        np.testing.assert_allclose(out.numpy()[i], lc.ops.batch_norm(x[i])[0].numpy(), rtol=1e-10, atol=1e-12)


def test_an_index_of_each_example_reads_its_own_element():
    rows, picks = lc.tensor(np.arange(9.0).reshape(3, 3)), lc.tensor([2, 0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert lc.vmap(lambda row, i: row[i])(rows, picks).tolist() == [2, 3, 7]
    assert lc.vmap(lambda i: lc.ops.one_hot(i, 3))(picks).tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_keyword_arguments_are_mapped_and_other_objects_passed_on():
    x = lc.tensor([[1.0], [2.0]])
    assert lc.vmap(lambda x, how, *, y: how(x, y))(x, lambda a, b: a + b, y=x).tolist() == [[2], [4]]


def test_a_result_that_is_the_same_for_all_examples_is_repeated_or_kept_once():
    x, w = lc.tensor([1.0, 2.0, 3.0]), lc.tensor([5.0])
    assert lc.vmap(lambda x: w * 2)(x).tolist() == [[10], [10], [10]]
    assert lc.vmap(lambda x: (x, w * 2), out_axes=(0, None))(x)[1].tolist() == [10]
    with pytest.raises(GradientError, match="out_axes is None"):
        lc.vmap(lambda x: x * 2, out_axes=None)(x)


def test_random_draws_are_refused_or_belong_to_each_example():
    x = lc.ones((3, 2000))

    def drop(x):
        return lc.ops.dropout(x, 0.5, lc.random.stream("dropout").next())

    with pytest.raises(GradientError, match='randomness="different"'):
        lc.vmap(drop)(x)
    different = lc.vmap(drop, randomness="different")(x).numpy()
    assert 0.4 < (different[0] == different[1]).mean() < 0.6 and abs(different.mean() - 1) < 0.1
    same = lc.vmap(drop, randomness="same")(x).numpy()
    assert (same[0] == same[1]).all()
    noise = lc.vmap(
        lc.vmap(lambda a: a * 0 + lc.random.normal(a.shape), randomness="different"), randomness="different"
    )(lc.ones((2, 3, 4)))
    assert len(np.unique(noise.numpy())) == 24
    with pytest.raises(HyperparameterError, match="randomness"):
        lc.vmap(drop, randomness="maybe")


def test_looking_at_a_value_is_refused():
    x = lc.ones((2, 3))
    for look in (lambda x: x if x.sum() > 0 else -x, lambda x: x * x.sum().item(), lambda x: x * float(x[0])):
        with pytest.raises(GradientError, match="asked for its number"):
            lc.vmap(look)(x)


def test_arguments_that_do_not_fit_are_named():
    x = lc.ones((2, 3))
    with pytest.raises(ShapeError, match=r"\[2, 3\] examples"):
        lc.vmap(lambda a, b: a, in_axes=(0, 1))(x, x)
    with pytest.raises(ShapeError, match="no argument has examples"):
        lc.vmap(lambda a: a, in_axes=(None,))(x)
    with pytest.raises(ShapeError, match="names axis 2 of a tensor of shape"):
        lc.vmap(lambda a: a, in_axes=2)(x)
    with pytest.raises(ShapeError, match="for 1 positional arguments"):
        lc.vmap(lambda a: a, in_axes=(0, 0))(x)
    with pytest.raises(GradientError, match="must return tensors"):
        lc.vmap(lambda a: 1)(x)


def test_functional_call_puts_the_parameters_back_also_after_an_error():
    model = lc.layers.Dense(2, in_features=3)
    before = model.weight.data, model.weight.node
    with pytest.raises(ShapeError, match="weight has shape"):
        lc.functional_call(model, {"weight": lc.ones((2, 2))}, lc.ones((1, 3)))
    with pytest.raises(StateError, match="has no wieght"):
        lc.functional_call(model, {"wieght": lc.ones((2, 3))}, lc.ones((1, 3)))
    with pytest.raises(ShapeError):
        lc.functional_call(model, {"weight": lc.ones((2, 3))}, lc.ones((1, 4)))
    assert (model.weight.data, model.weight.node) == before


def test_checkpointed_blocks_work_inside():
    x = lc.tensor(np.random.default_rng(4).normal(size=(3, 4)))

    def plain(x):
        return (x.exp() * x).sum()

    got = lc.vmap(lc.grad(lambda x: lc.checkpoint(plain, x)))(x)
    np.testing.assert_allclose(got.numpy(), lc.vmap(lc.grad(plain))(x).numpy(), rtol=1e-12)
