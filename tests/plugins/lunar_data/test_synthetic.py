"""Synthetic sets: each holds to its definition, and depends on its seed alone."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError
from lunar_core.trees import tree_leaves
from lunar_data.digits import Digits
from lunar_data.synthetic.linear import Regression, SparseRegression
from lunar_data.synthetic.planar import XOR, Blobs, Checkerboard, Spirals
from lunar_data.synthetic.scenes import ShapesCaptioning, ShapesDetection, ShapesSegmentation, Textures, cover
from lunar_data.synthetic.sequences import (
    IGNORED,
    AddingProblem,
    Addition,
    Copy,
    Dyck,
    ModularArithmetic,
    Reverse,
    Sort,
)
from lunar_data.synthetic.sinusoids import Sinusoids
from lunar_data.synthetic.videos import BouncingShapes, MovingDigits, bounced

NAMES = [n for n in lc.registry.names("dataset") if ".synthetic." in lc.registry.info("dataset", n).value]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(tree_leaves(a), tree_leaves(b), strict=True))


def test_all_are_there():
    assert len(NAMES) == 22


@pytest.mark.parametrize("name", NAMES)
def test_a_set_is_a_function_of_its_seed_and_keeps_the_contract(name):
    first = lc.create("dataset", name, n=12, seed=5)
    lc.seed(99)
    lc.random.normal((3,))
    np.random.random(2)
    again = lc.from_config(lc.to_config(first))
    batch = first[:]
    assert len(first) == 12 and same(batch, again[:])
    assert not same(batch, lc.create("dataset", name, n=12, seed=6)[:])
    assert len(batch) == len(first.fields)
    for leaf, one in zip(tree_leaves(batch), tree_leaves(first[-2]), strict=True):
        assert len(leaf) == 12 and leaf.dtype in (np.float32, np.int64)
        np.testing.assert_array_equal(leaf[10], one)
    assert first.card.size == 12 and first.card.licence == "CC0-1.0" and len(first.card.title) > 10
    if name == "shapes_detection":
        return
    targets = first.targets()
    assert len(targets) == 12
    if first.n_classes is not None:
        assert targets.dtype == np.int64 and targets.max() < first.n_classes


def test_examples_that_are_made_one_by_one_do_not_depend_on_how_many_there_are():
    few, many = Textures(n=3, seed=1), Textures(n=10**12, seed=1)
    assert same(few[2], many[2]) and many[10**12 - 1][0].shape == (1, 32, 32)


# -- points --------------------------------------------------------------------------------------------------------------


def test_spirals_lie_on_their_arms():
    x, y = Spirals(n=300, arms=3, turns=2.0, noise=0.0).arrays()
    radius, angle = np.hypot(*x.T), np.arctan2(x[:, 1], x[:, 0])
    off = (angle / (2 * np.pi) - 2 * radius - y / 3) % 1
    assert (np.minimum(off, 1 - off)[radius > 0.05] < 1e-4).all()
    assert np.bincount(y).tolist() == [100] * 3


def test_xor_and_checkerboard_follow_their_rule():
    x, y = XOR(n=500).arrays()
    np.testing.assert_array_equal(y, (x > 0).sum(axis=1) == 1)
    x, y = Checkerboard(n=2000, cells=6).arrays()
    place = (x.astype(np.float64) + 1) * 3
    inside = (np.abs(place - np.rint(place)) > 1e-5).all(axis=1)
    np.testing.assert_array_equal(y[inside], np.floor(place[inside]).sum(axis=1) % 2)
    assert inside.sum() > 1990 and 0.45 < y.mean() < 0.55


def test_blobs_lie_around_their_centres():
    data = Blobs(n=9000, clusters=3, features=4, std=0.5)
    x, y = data.arrays()
    for c in range(3):
        part = x[y == c]
        np.testing.assert_allclose(part.mean(axis=0), data.centers()[c], atol=5 * 0.5 / np.sqrt(3000))
        np.testing.assert_allclose(part.std(axis=0), 0.5, rtol=0.1)


def test_regressions_have_the_coefficients_that_they_state():
    data = Regression(n=4000, features=8, informative=3, outputs=2, bias=7.0, noise=0.1)
    x, y = (part.astype(np.float64) for part in data.arrays())
    found = np.linalg.lstsq(np.c_[x, np.ones(4000)], y, rcond=None)[0]
    np.testing.assert_allclose(found[:-1], data.coefficients(), atol=0.01)
    np.testing.assert_allclose(found[-1], 7, atol=0.01)
    assert (data.coefficients() != 0).any(axis=1).sum() == 3
    x, y = (part.astype(np.float64) for part in SparseRegression(n=20_000).arrays())
    np.testing.assert_allclose(np.linalg.lstsq(x, y[:, 0], rcond=None)[0], [1, 2, -2, -1.5, *[0] * 6], atol=0.04)
    with pytest.raises(HyperparameterError, match="informative=9 is more than there are"):
        Regression(features=8, informative=9).arrays()


# -- sequences -----------------------------------------------------------------------------------------------------------


def test_copy_says_again_what_it_was_told():
    x, y = Copy(n=50, length=5, delay=7, symbols=4).arrays()
    assert x.shape == y.shape == (50, 17)
    np.testing.assert_array_equal(y[:, 12:], x[:, :5])
    assert (y[:, :12] == 0).all() and (x[:, 5:11] == 0).all() and (x[:, 11] == 1).all() and (x[:, 12:] == 0).all()
    assert set(x[:, :5].ravel()) == {2, 3, 4, 5}


@pytest.mark.parametrize("kind, rule", [(Reverse, lambda s: s[::-1]), (Sort, sorted)], ids=["reverse", "sort"])
def test_rearranging_follows_its_rule(kind, rule):
    x, y = kind(n=200, length=6, shortest=2).arrays()
    lengths = set()
    for row, answer in zip(x, y):
        k = row.tolist().index(1)
        lengths.add(k)
        assert answer[k + 1 : 2 * k + 1].tolist() == list(rule(row[:k].tolist())) and (row[k + 1 :] == 0).all()
        assert (np.delete(answer, np.arange(k + 1, 2 * k + 1)) == IGNORED).all()
    assert lengths == {2, 3, 4, 5, 6}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("base", [2, 10, 16])
def test_sums_are_right(base, reverse):
    data = Addition(n=300, digits=3, base=base, reverse=reverse)
    names = data.classes
    for row, answer in zip(*data.arrays()):
        text, result = "".join(names[t] for t in row), "".join(names[t] for t in answer[8:])
        a, b = text.rstrip("_").rstrip("=").split("+")
        if reverse:
            a, b, result = a[::-1], b[::-1], result[::-1]
        assert int(a, base) + int(b, base) == int(result, base)
        assert len(text) == 12 and (answer[:8] == IGNORED).all()


def balanced(word, kinds):
    waiting = []
    for token in word:
        if token < kinds:
            waiting.append(token)
        elif not waiting or waiting.pop() != token - kinds:
            return False
    return not waiting


@pytest.mark.parametrize("kinds", [1, 3])
def test_dyck_words_are_balanced_where_it_says_so(kinds):
    x, y = Dyck(n=400, length=12, kinds=kinds).arrays()
    assert [balanced(word, kinds) for word in x.tolist()] == (y == 1).tolist()
    assert y.sum() == 200 and set(x.ravel()) == set(range(2 * kinds))


def test_dyck_paths_are_uniform():
    x, y = Dyck(n=28_000, length=8, kinds=1).arrays()
    words, counts = np.unique(x[y == 1], axis=0, return_counts=True)
    assert len(words) == 14  # the fourth Catalan number
    np.testing.assert_allclose(counts, 1000, atol=5 * np.sqrt(1000))


def test_the_adding_problem_marks_one_number_in_each_half():
    x, y = AddingProblem(n=500, length=11).arrays()
    np.testing.assert_array_equal(y[:, 0], (x[:, :, 0] * x[:, :, 1]).sum(axis=1))
    assert (x[:, :5, 1].sum(axis=1) == 1).all() and (x[:, 5:, 1].sum(axis=1) == 1).all()
    x, y = AddingProblem(n=20_000, length=4).arrays()
    assert abs(np.mean((y - 1) ** 2) - 1 / 6) < 0.01


@pytest.mark.parametrize("operation", ["add", "subtract", "multiply", "divide"])
def test_modular_arithmetic_is_complete_and_right(operation):
    x, y = ModularArithmetic(modulus=13, operation=operation).arrays()
    a, o, b, equals = x.T
    assert len(x) == (156 if operation == "divide" else 169) and len(np.unique(x, axis=0)) == len(x)
    assert (o == 13).all() and (equals == 14).all()
    if operation == "divide":
        np.testing.assert_array_equal(y * b % 13, a)
    else:
        rule = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply}[operation]
        np.testing.assert_array_equal(y, rule(a, b) % 13)


def test_sequences_that_cannot_be_are_refused():
    for make, message in [
        (lambda: Dyck(length=5).arrays(), "even length"),
        (lambda: Sort(length=3, shortest=4).arrays(), "shortest=4 is more than length=3"),
        (lambda: ModularArithmetic(modulus=12, operation="divide").arrays(), "a prime modulus, got 12"),
        (lambda: ModularArithmetic(modulus=5, n=26).arrays(), "more than the 25 equations"),
        (lambda: Addition(base=1), "base must be in"),
    ]:
        with pytest.raises(HyperparameterError, match=message):
            make()


def test_sinusoid_tasks_are_sines():
    data = Sinusoids(n=40, shots=5, queries=7)
    sx, sy, qx, qy = data.arrays()
    amplitude, phase = (part[:, None, None] for part in data.tasks())
    np.testing.assert_allclose(sy, amplitude * np.sin(sx + phase), atol=1e-5)
    np.testing.assert_allclose(qy, amplitude * np.sin(qx + phase), atol=1e-5)
    assert sx.shape == (40, 5, 1) and qx.shape == (40, 7, 1) and np.abs(sx).max() <= 5


# -- pictures ------------------------------------------------------------------------------------------------------------


def test_forms_have_their_areas():
    for form, area in enumerate((np.pi * 40**2, 80**2, 80**2 / 2)):
        assert abs(cover(form, 64.3, 63.8, 40, 128, 128).sum() / area - 1) < 0.02


def test_boxes_hold_exactly_the_pixels_of_their_things():
    detection = ShapesDetection(n=30, noise=0.0, seed=2)
    counts = set()
    for image, objects in (detection[i] for i in range(30)):
        boxes, labels = objects["boxes"], objects["labels"]
        here = labels >= 0
        counts.add(int(here.sum()))
        ground = image[:, 0, 0] if not (boxes[here][:, :2] < 1).all(axis=1).any() else None
        foreign = np.zeros(image.shape[1:], bool) if ground is None else (image != ground[:, None, None]).any(axis=0)
        inside = np.zeros_like(foreign)
        for x0, y0, x1, y1 in boxes[here]:
            assert 0 <= x0 < x1 <= 64 and 0 <= y0 < y1 <= 64
            rows, columns = np.nonzero(foreign[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1])
            assert np.ptp(rows) + 1 <= np.ceil(y1 - y0) + 1 and np.ptp(columns) + 1 >= (x1 - x0) - 2.5
            inside[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1] = True
        assert not (foreign & ~inside).any()
        assert (boxes[~here] == 0).all() and here[: here.sum()].all()
    assert counts == {1, 2, 3, 4}


def test_masks_are_where_the_colour_is():
    for image, mask in (ShapesSegmentation(n=20, noise=0.0)[i] for i in range(20)):
        ground = image[:, mask == 0]
        assert (ground == ground[:, :1]).all() and set(np.unique(mask)) <= {0, 1, 2, 3}
        things = image[:, mask > 0]
        assert (things != ground[:, :1]).any(axis=0).all()


def test_captions_say_what_is_to_be_seen():
    data = ShapesCaptioning(n=60, noise=0.0)
    two = 0
    for i in range(60):
        _, tokens = data[i]
        _, things = data.scene(data.generator(i))
        words = data.sentence(tokens).split()
        assert words[2] in ("circle", "square", "triangle") and tokens[0] == 1 and 2 in tokens
        if len(things) == 2:
            two += 1
            a, b = things
            side = " ".join(words[3:-3])
            assert {
                "left of": a.x < b.x,
                "right of": a.x > b.x,
                "above": a.y < b.y,
                "below": a.y > b.y,
            }[side]
    assert 10 < two < 55
    with pytest.raises(HyperparameterError, match="tokens lie in"):
        data.sentence([99])


def test_textures_are_told_apart_by_their_spectra_not_their_means():
    data = Textures(n=300, seed=3)
    images, labels = data[:]
    assert images.min() >= 0 and images.max() <= 1 and set(labels) == set(range(6))
    power = np.abs(np.fft.rfft2(images[:, 0] - images[:, 0].mean(axis=(1, 2), keepdims=True))) ** 2
    share = power.max(axis=(1, 2)) / power.sum(axis=(1, 2))  # of the strongest frequency
    by_class = [share[labels == c].mean() for c in range(6)]
    assert by_class[0] > 0.3 > by_class[1] and by_class[5] < 0.02


# -- films ---------------------------------------------------------------------------------------------------------------


def test_a_bounce_turns_the_speed_and_loses_nothing():
    start, velocity = np.array([3.0, 8.0]), np.array([2.5, -0.7])
    place, speed, expected = start.copy(), velocity.copy(), []
    for _ in range(200):  # step by step, turning back at the walls
        expected.append(place.copy())
        place = place + speed
        for k in range(2):
            if place[k] > 10:
                place[k], speed[k] = 20 - place[k], -speed[k]
            if place[k] < 2:
                place[k], speed[k] = 4 - place[k], -speed[k]
    np.testing.assert_allclose(bounced(start, velocity, 200, 2, 10), expected, atol=1e-9)


def test_films_show_what_moves():
    data = BouncingShapes(n=5, things=1, radius=4.0, past=6, future=4)
    for i in range(5):
        past, future = data[i]
        film = np.concatenate([past, future])[:, 0]
        places = data.places(data.generator(i))[:, 0]
        rows, columns = np.mgrid[:32, :32] + 0.5
        seen = np.stack([(film * columns).sum((1, 2)), (film * rows).sum((1, 2))], axis=1) / film.sum((1, 2))[:, None]
        np.testing.assert_allclose(seen, places, atol=0.3)
    with pytest.raises(HyperparameterError, match="does not fit"):
        BouncingShapes(radius=17.0)[0]


def test_moving_digits_are_the_digits_that_ship():
    past, future = MovingDigits(n=2, things=1, zoom=2, size=20)[1]
    frame = np.concatenate([past, future])[:, 0]
    assert frame.shape == (20, 20, 20)
    small = [f[y : y + 16 : 2, x : x + 16 : 2] for f in frame for y in range(5) for x in range(5)]
    images = Digits().arrays()[0][:, 0]
    assert any((images == s).all(axis=(1, 2)).any() for s in small)
    with pytest.raises(HyperparameterError, match="do not fit"):
        MovingDigits(zoom=9)[0]
