"""AuxiliaryHead: what it computes when, its share of the objective in a plain loop and in the Trainer."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError, StateError
from lunar_layers.auxiliary_head import AuxiliaryHead, auxiliary_heads, auxiliary_loss
from lunar_layers.dense import Dense
from lunar_layers.sequential import Sequential
from lunar_layers.stochastic_depth import LayerDrop
from lunar_losses.cross_entropy import CrossEntropy
from lunar_losses.mse import MSE
from lunar_optimizers.sgd import SGD
from lunar_training import Trainer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 5)).astype(np.float32)
Y = RNG.integers(0, 3, 10)
WEIGHTS = RNG.uniform(0.1, 2.0, 10).astype(np.float32)


def network(weight=0.3, **options):
    lc.seed(0)
    return Sequential(Dense(6), AuxiliaryHead(Dense(3), weight, **options), Dense(4), AuxiliaryHead(Dense(3)), Dense(3))


def test_the_input_passes_and_the_head_computes_in_training_only():
    head = AuxiliaryHead(Dense(3))
    x = lc.tensor(X)
    assert head(x) is x
    np.testing.assert_array_equal(head.output.detach().numpy(), head.head(x).detach().numpy())
    quiet = AuxiliaryHead(Dense(3)).eval()
    assert quiet(x) is x
    assert quiet.built
    assert list(quiet.state_dict()) == ["head.weight", "head.bias"]
    with pytest.raises(StateError, match="AuxiliaryHead has no output"):
        quiet.output  # noqa: B018


def test_its_terms_are_the_weighted_sum_and_can_be_had_once():
    head = AuxiliaryHead(Dense(3), 0.5)
    head(lc.tensor(X))
    expected, size = CrossEntropy().terms(head.output, Y)
    total, weight = head.auxiliary_terms(CrossEntropy(), Y)
    assert (total.item(), weight) == (pytest.approx(0.5 * expected.item()), size)
    with pytest.raises(StateError):
        head.auxiliary_terms(CrossEntropy(), Y)


def test_a_plain_loop_adds_the_losses_of_all_heads_and_their_gradients_reach_what_is_below():
    net = network()
    out = net(lc.tensor(X))
    first, second = (head.output for head in auxiliary_heads(net))
    loss = CrossEntropy()
    expected = 0.3 * loss(first, Y) + 0.3 * loss(second, Y)
    extra = auxiliary_loss(net, loss, Y)
    assert extra.item() == pytest.approx(expected.item(), rel=1e-6)
    (loss(out, Y) + extra).backward()
    assert all(p.grad is not None for p in net.parameters())
    assert auxiliary_loss(Sequential(Dense(3)), loss, Y) == 0.0
    assert auxiliary_loss(net, loss, Y) == 0.0  # they were had already


def test_a_head_may_have_a_loss_of_its_own_by_name_too():
    for own in (MSE(), "mse"):
        head = AuxiliaryHead(Dense(5), 1.0, loss=own)
        head(lc.tensor(X))
        expected = MSE()(head.output, X).item()
        total, size = head.auxiliary_terms(CrossEntropy(), X)
        assert total.item() / size == pytest.approx(expected)


def gradients_of_one_step(model, micro_batches=1):
    """What one step of SGD at rate 1 subtracts, by name."""
    model(lc.tensor(X[:1]))
    before = {name: value.copy() for name, value in model.state_dict().items()}
    optimizer = SGD(model.parameters(), lr=1.0)
    trainer = Trainer(model, loss="cross_entropy", optimizer=optimizer, plugins=[], micro_batches=micro_batches)
    history = trainer.fit((X, Y, WEIGHTS), epochs=1, batch_size=10)
    return {name: before[name] - value for name, value in model.state_dict().items()}, history


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_the_trainer_adds_them_by_itself_exactly_with_sample_weights_and_micro_batches(micro_batches):
    found, history = gradients_of_one_step(network(), micro_batches=micro_batches)
    net = network()
    loss = CrossEntropy()
    out = net(lc.tensor(X))
    main = loss(out, Y, WEIGHTS)
    (main + auxiliary_loss(net, loss, Y, WEIGHTS)).backward()
    for name, parameter in net.named_parameters():
        np.testing.assert_allclose(found[name], parameter.grad.numpy(), rtol=1e-4, atol=1e-6, err_msg=name)
    assert history[-1]["loss"] == pytest.approx(main.item(), rel=1e-5)
    net(lc.tensor(X))
    total, size = net[1].auxiliary_terms(loss, Y, WEIGHTS)
    assert history[-1]["loss.auxiliary.1"] == pytest.approx(total.item() / size, rel=1e-5)


def test_a_head_that_a_pass_does_not_reach_has_no_loss_in_it():
    def make():
        lc.seed(0)
        return Sequential(LayerDrop(AuxiliaryHead(Dense(3)), p=1.0), AuxiliaryHead(Dense(3)), Dense(3))

    found, _ = gradients_of_one_step(make())
    assert not found["0.0.head.weight"].any()
    assert found["1.head.weight"].any()
    net = make()
    net(lc.tensor(X))
    expected = 0.3 * CrossEntropy()(net[1].output, Y).item()
    assert auxiliary_loss(net, CrossEntropy(), Y).item() == pytest.approx(expected, rel=1e-6)


def test_a_weight_of_zero_is_as_if_there_were_no_head():
    plain = network(0.0)
    plain[3].weight = 0.0
    found, _ = gradients_of_one_step(plain)
    net = network()
    CrossEntropy()(net(lc.tensor(X)), Y, WEIGHTS).backward()
    np.testing.assert_allclose(found["0.weight"], net[0].weight.grad.numpy(), rtol=1e-4, atol=1e-6)
    assert not found["1.head.weight"].any()


def test_copies_configuration_and_errors():
    net = network(loss=MSE())
    net(lc.tensor(X))
    again = copy.deepcopy(net)  # a result that waits for its loss is not copied
    with pytest.raises(StateError):
        again[1].output  # noqa: B018
    rebuilt = lc.from_config(lc.to_config(net))
    assert repr(rebuilt) == repr(net)
    assert isinstance(rebuilt[1].loss, MSE)
    with pytest.raises(HyperparameterError, match="AuxiliaryHead: head must be a module"):
        AuxiliaryHead(np.tanh)
    with pytest.raises(HyperparameterError, match="AuxiliaryHead: weight"):
        AuxiliaryHead(Dense(3), -1)
