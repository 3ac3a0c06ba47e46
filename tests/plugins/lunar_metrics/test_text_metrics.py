"""BLEU, ROUGE-L and word error rate: the papers' examples, brute-force counterparts, forms of input, errors."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_shards import at_once, sharded

from lunar_core.errors import DataError, HyperparameterError
from lunar_core.tensor import Tensor
from lunar_metrics.bleu import BLEU
from lunar_metrics.rouge_l import RougeL
from lunar_metrics.text import common_length, edit_distance
from lunar_metrics.word_error_rate import WordErrorRate

WORDS = st.lists(st.sampled_from("abcd"), max_size=9)
CORPUS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8)

# K. Papineni et al., section 2.1: example 1 and example 2
CANDIDATE_1 = "it is a guide to action which ensures that the military always obeys the commands of the party"
CANDIDATE_2 = "it is to insure the troops forever hearing the activity guidebook that party direct"
REFERENCES = [
    "it is a guide to action that ensures that the military will forever heed party commands",
    "it is the guiding principle which guarantees the military forces always being under the command of the party",
    "it is the practical guide for the army always to heed the directions of the party",
]


def test_bleus_precisions_are_the_papers():
    assert at_once(
        BLEU(1), ["the the the the the the the"], [["the cat is on the mat", "there is a cat on the mat"]]
    ) == pytest.approx(2 / 7)
    assert at_once(BLEU(1), [CANDIDATE_1], [REFERENCES]) == pytest.approx(17 / 18)
    brevity = math.exp(1 - 16 / 14)  # the closest reference has 16 words
    assert at_once(BLEU(1), [CANDIDATE_2], [REFERENCES]) == pytest.approx(8 / 14 * brevity)
    metric = BLEU(2)
    metric.update([CANDIDATE_1], [REFERENCES])
    assert metric.matches.tolist() == [17, 10] and metric.ngrams.tolist() == [18, 17]
    metric.reset()
    metric.update([CANDIDATE_2], [REFERENCES])
    assert metric.matches.tolist() == [8, 1] and metric.ngrams.tolist() == [14, 13]


def test_bleu_of_the_papers_candidate():
    # modified precisions 17/18, 10/17, 7/16, 4/15; the reference of 18 words is as long as the candidate
    expected = math.exp(np.log([17 / 18, 10 / 17, 7 / 16, 4 / 15]).mean())
    assert at_once(BLEU(), [CANDIDATE_1], [REFERENCES]) == pytest.approx(expected)
    assert at_once(BLEU(), [CANDIDATE_2], [REFERENCES]) == 0  # no trigram matches


def test_bleu_punishes_brevity_by_the_closest_reference():
    # 3 words against 5 and 4: the reference of 4 is closest
    value = at_once(BLEU(1), ["a b c"], [["a b c d e", "a b c d"]])
    assert value == pytest.approx(math.exp(1 - 4 / 3))
    # 2 and 4 are as close to 3: the shorter counts, and nothing is punished
    assert at_once(BLEU(1), ["a b c"], [["a b", "a b c d"]]) == 1
    assert at_once(BLEU(), [""], ["a b"]) == 0


def test_bleus_smoothing_keeps_a_missing_match_above_zero():
    pred, target = ["a b c d"], ["a b x d"]
    assert at_once(BLEU(), pred, target) == 0
    expected = math.exp(np.log([3 / 4, 2 / 4, 1 / 3, 1 / 2]).mean())
    assert at_once(BLEU(smoothing="add_one"), pred, target) == pytest.approx(expected)


@settings(deadline=None, max_examples=60)
@given(CORPUS, st.integers(0, 1000))
def test_bleu_is_that_of_the_summed_counts(corpus, seed):
    matches, ngrams = [0, 0, 0], [0, 0, 0]
    for pred, target in corpus:
        for n in (1, 2, 3):
            left = [tuple(target[i : i + n]) for i in range(len(target) - n + 1)]
            for i in range(len(pred) - n + 1):
                ngrams[n - 1] += 1
                if tuple(pred[i : i + n]) in left:  # each n-gram of the reference is used up once
                    left.remove(tuple(pred[i : i + n]))
                    matches[n - 1] += 1
    value = sharded(BLEU(3), [p for p, _ in corpus], [t for _, t in corpus], None, seed)
    if 0 in matches:
        assert value == 0
        return
    c, r = sum(len(p) for p, _ in corpus), sum(len(t) for _, t in corpus)
    precision = (matches[0] * matches[1] * matches[2] / (ngrams[0] * ngrams[1] * ngrams[2])) ** (1 / 3)
    assert value == pytest.approx(precision * (1 if c > r else math.exp(1 - r / c)), rel=1e-12)


def test_rouge_ls_examples_are_the_papers():
    # section 3.1: S1 is the reference
    s1, s2, s3, s4 = (
        "police killed the gunman",
        "police kill the gunman",
        "the gunman kill police",
        "the gunman police killed",
    )
    assert at_once(RougeL(), [s2], [s1]) == 0.75
    assert at_once(RougeL(), [s3], [s1]) == 0.5
    assert at_once(RougeL(), [s4], [s1]) == 0.5
    assert at_once(RougeL(), [s2, s3], [s1, s1]) == 0.625


def test_rouge_l_measures_and_references():
    pred, target = ["a b c d"], ["a c"]
    assert at_once(RougeL("precision"), pred, target) == 0.5
    assert at_once(RougeL("recall"), pred, target) == 1
    assert at_once(RougeL(), pred, target) == pytest.approx(2 / 3)
    assert at_once(RougeL(beta=2.0), pred, target) == pytest.approx(5 * 0.5 / (1 + 4 * 0.5))
    assert at_once(RougeL(), pred, [["x y", "a b c d"]]) == 1
    assert at_once(RougeL(), [""], ["a"]) == at_once(RougeL(), ["a"], [""]) == 0


def test_word_error_rate_counts_edits_over_all_words():
    assert at_once(WordErrorRate(), ["the cat sat"], ["the cat sat on the mat"]) == 0.5
    assert at_once(WordErrorRate(), ["hello there world", "a"], ["hello world", "b c"]) == pytest.approx((1 + 2) / 4)
    assert at_once(WordErrorRate(unit="character"), ["sitting"], ["kitten"]) == pytest.approx(3 / 6)
    assert at_once(WordErrorRate(), ["a b c"], ["x"]) == 3
    assert at_once(WordErrorRate(), ["", "a"], ["b", "a"]) == 0.5


@settings(deadline=None, max_examples=150)
@given(WORDS, WORDS)
def test_distances_are_those_of_the_recursive_definitions(a, b):
    @cache
    def edits(i, j):
        if not i or not j:
            return i + j
        return min(edits(i - 1, j) + 1, edits(i, j - 1) + 1, edits(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    @cache
    def common(i, j):
        if not i or not j:
            return 0
        return common(i - 1, j - 1) + 1 if a[i - 1] == b[j - 1] else max(common(i - 1, j), common(i, j - 1))

    assert edit_distance(a, b) == edits(len(a), len(b)) == edit_distance(b, a)
    assert common_length(a, b) == common(len(a), len(b))


@pytest.mark.parametrize("metric", [BLEU(2), RougeL(), WordErrorRate()], ids=lambda v: getattr(v, "__name__", repr(v)))
def test_shards_weights_and_configurations(metric):
    rng = np.random.default_rng(0)
    pred = [" ".join(rng.choice(list("abc"), rng.integers(3, 9))) for _ in range(20)]
    target = [" ".join(rng.choice(list("abc"), rng.integers(3, 9))) for _ in range(20)]
    weight = rng.integers(0, 4, 20)
    copies = [i for i in range(20) for _ in range(weight[i])]
    expected = at_once(metric, [pred[i] for i in copies], [target[i] for i in copies])
    assert sharded(metric, pred, target, weight) == pytest.approx(expected, rel=1e-12)
    assert at_once(type(metric).from_config_fields(**metric.config()), pred, target, weight) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [BLEU(2), RougeL(), WordErrorRate()], ids=lambda v: getattr(v, "__name__", repr(v)))
def test_strings_tokens_and_arrays_agree(metric):
    pred, target = np.array([[1, 2, 3, 9], [4, 4, 5, 1]]), np.array([[1, 2, 9, 9], [4, 5, 1, 2]])
    expected = at_once(metric, ["1 2 3 9", "4 4 5 1"], ["1 2 9 9", "4 5 1 2"])
    assert at_once(metric, pred, target) == expected
    assert at_once(metric, Tensor(pred), target.tolist()) == expected
    assert (
        at_once(metric, [["1", "2", "3", "9"], ["4", "4", "5", "1"]], [["1", "2", "9", "9"], ["4", "5", "1", "2"]])
        == expected
    )
    padded = type(metric).from_config_fields(**{**metric.config(), "pad": 9})
    assert at_once(padded, pred, target) == at_once(metric, ["1 2 3", "4 4 5 1"], ["1 2", "4 5 1 2"])
    lower = type(metric).from_config_fields(**{**metric.config(), "lowercase": True})
    assert at_once(lower, ["The CAT sat"], ["the cat SAT"]) == at_once(metric, ["a b c"], ["a b c"])


def test_what_does_not_fit_is_refused_and_leaves_the_totals():
    metric = WordErrorRate()
    metric.update(["a b"], ["a c"])
    for pred, target, weight, words in [
        ("a b", ["a b"], None, "one string"),
        (["a"], ["a", "b"], None, "1 predicted texts for 2"),
        (["a", "b"], ["a", "b"], np.ones(3), "one weight for each of 2"),
        (["a", "b"], ["a", ["b", "c"]], None, "one true text for each prediction, got 2"),
        (["a", 3], ["a", "b"], None, "expected a string or a sequence of tokens, got 3"),
        ([["a", 0.5]], [["a"]], None, "a token is a string or an integer, got 0.5"),
        (np.ones((2, 3)), np.ones((2, 3)), None, "token indices"),
    ]:
        with pytest.raises(DataError, match=words):
            metric.update(pred, target, weight)
    assert metric.compute() == 0.5
    with pytest.raises(DataError, match="no words"):
        at_once(WordErrorRate(), ["a"], [""])
    for make, words in [
        (lambda: BLEU(0), "BLEU: max_n"),
        (lambda: RougeL("f1"), "RougeL: measure"),
        (lambda: WordErrorRate("byte"), "unit"),
    ]:
        with pytest.raises(HyperparameterError, match=words):
            make()
    with pytest.raises(DataError, match="seen no example"):
        BLEU().compute()
