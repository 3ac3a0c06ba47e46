import numpy as np
from template_package.template_entry import TemplateClass

import lunar_core as lc
from lunar_core.testing import TokenizerConformance
from lunar_training import Trainer


class TestTemplateClass(TokenizerConformance):
    component = TemplateClass
    source = "definition"  # or name the paper in the docstring
    texts = ("the moon", "a sun, a star.", "")


def test_characters_are_their_places_in_the_alphabet():
    np.testing.assert_array_equal(TemplateClass(alphabet="ab").encode("abx").ids, [0, 1, 2])
    assert TemplateClass(alphabet="ab").decode([1, 2, 0]) == "b?a"


def test_a_model_learns_what_comes_next():
    tokens = lc.tokenizers["template-dist/template_entry"]()
    ids = tokens.encode("row, row, row your boat gently down the stream. " * 40).ids
    x = np.stack([ids[k : k + 3] for k in range(len(ids) - 3)])
    model = lc.layers.Sequential(
        lc.layers.Embedding(tokens.vocab_size, 8), lc.layers.Flatten(), lc.layers.Dense(tokens.vocab_size)
    )
    trainer = Trainer(model, "cross_entropy", {"@optimizer": "adamw", "lr": 1e-2}, metrics=["accuracy"], seed=0)
    trainer.fit((x, ids[3:]), epochs=5)
    assert trainer.evaluate((x, ids[3:]))["accuracy"] > 0.7
