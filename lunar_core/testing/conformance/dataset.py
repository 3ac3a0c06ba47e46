"""Datasets, transforms and tokenizers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from .component import GENERAL, Conformance, behaves_as


@behaves_as("callback", GENERAL)
class DatasetConformance(Conformance):
    """Datasets; ``fields`` make a small one."""

    kind: ClassVar[str] = "dataset"

    def test_examples_batches_and_the_whole_agree(self) -> None:
        dataset = self.make()
        n = len(dataset)
        assert n > 0
        whole = dataset.arrays()
        assert len(whole) == len(dataset.fields) and all(len(a) == n for a in whole)
        places = np.array([0, n - 1, n // 2])
        batch = dataset[places]
        for k, place in enumerate(places):
            same(list(dataset[int(place)]), [a[k] for a in batch])
            same([a[place] for a in whole], [a[k] for a in batch])

    def test_an_index_beyond_its_end_is_an_index_error(self) -> None:
        dataset = self.make()
        with pytest.raises(IndexError):
            dataset[len(dataset)]

    def test_two_of_a_configuration_hold_the_same(self) -> None:
        same(list(self.make().arrays()), list(self.make().arrays()))

    def test_its_card_counts_its_examples(self) -> None:
        dataset = self.make()
        assert dataset.card.size == len(dataset) and dataset.card.title

    def test_its_classes_are_named_by_its_labels(self) -> None:
        dataset = self.make()
        if dataset.classes is not None:
            labels = dataset.arrays()[-1]
            assert labels.min() >= 0 and labels.max() < dataset.n_classes


@behaves_as("callback", GENERAL)
class TransformConformance(Conformance):
    """Transforms; ``inputs`` is one batch of examples, an array (n, ...), by default of images."""

    kind: ClassVar[str] = "transform"
    inputs: ClassVar[tuple[Any, ...] | None] = (
        np.linspace(0.0, 1.0, 3 * 2 * 8 * 6).reshape(3, 2, 8, 6).astype(np.float32),
    )

    def batch(self) -> np.ndarray:
        assert self.inputs is not None
        return np.array(self.inputs[0])

    def generators(self) -> list[np.random.Generator]:
        return [np.random.default_rng(k) for k in range(len(self.batch()))]

    def test_a_batch_gives_what_its_examples_give(self) -> None:
        transform, values = self.make(), self.batch()
        singles = [transform(value, rng) for value, rng in zip(values, self.generators())]
        same(singles, list(transform.batch(values, self.generators())))

    def test_it_does_not_write_to_its_input(self) -> None:
        values = self.batch()
        self.make().batch(values, self.generators())
        same([values], [self.batch()])


@behaves_as("callback", GENERAL)
class TokenizerConformance(Conformance):
    """Tokenizers; ``texts`` are some that come back as they were."""

    kind: ClassVar[str] = "tokenizer"
    texts: ClassVar[tuple[str, ...]] = ()

    def test_a_text_comes_back(self) -> None:
        tokenizer = self.make()
        for text in self.texts:
            encoding = tokenizer.encode(text, special=False)
            assert tokenizer.decode(encoding.ids) == text
            assert encoding.ids.min(initial=0) >= 0 and encoding.ids.max(initial=0) < tokenizer.vocab_size

    def test_the_offsets_of_tokens_are_places_in_the_text_in_order(self) -> None:
        for text in self.texts:
            offsets = self.make().encode(text, special=False).offsets
            assert (offsets[:, 0] <= offsets[:, 1]).all() and (np.diff(offsets[:, 0]) >= 0).all()
            assert offsets.min(initial=0) >= 0 and offsets.max(initial=0) <= len(text)

    def test_a_batch_is_its_texts_padded(self) -> None:
        tokenizer = self.make()
        batch = tokenizer.batch(self.texts)
        for k, text in enumerate(self.texts):
            np.testing.assert_array_equal(batch.ids[k][batch.mask[k]], tokenizer.encode(text).ids)


def same(a: Any, b: Any) -> None:
    """Lists of arrays are bitwise equal."""
    assert len(a) == len(b)
    for x, y in zip(a, b):
        np.testing.assert_array_equal(x, y)
