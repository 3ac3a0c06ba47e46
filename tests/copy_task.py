"""A task that no model solves without attention: copy the first half of a sequence into the second."""

import numpy as np

import lunar_core as lc
from lunar_core.contracts.model import Model
from lunar_layers.attention import KeyValueCache
from lunar_layers.dense import Dense
from lunar_layers.embedding import Embedding
from lunar_layers.transformer import Transformer
from lunar_losses.cross_entropy import CrossEntropy
from lunar_optimizers.adam import Adam

TOKENS, LENGTH, WIDTH = 6, 4, 32


PLACES = {
    "@layer": "positional_encoding", "mode": "learned", "max_length": 2 * LENGTH,
    "weight_init": {"@initializer": "normal", "std": 1.0},  # so that places differ from the start
}  # fmt: skip


class Copier(Model):
    """Tokens through a Transformer to logits; the second half of the input is blank."""

    def __init__(self, **options):
        self.embed = Embedding(TOKENS + 1, WIDTH)
        self.body = Transformer(
            **{"num_encoder_layers": 2, "num_decoder_layers": 0, "num_heads": 4, "dropout": 0.0, "norm_first": True,
               "position": PLACES, "hidden_features": 64, **options}
        )  # fmt: skip
        self.head = Dense(TOKENS)

    def forward(self, x):
        return self.head(self.body(self.embed(x)))


def batch(rng, count):
    tokens = rng.integers(0, TOKENS, (count, LENGTH))
    return np.concatenate([tokens, np.full_like(tokens, TOKENS)], axis=1), tokens


def train(steps=400, lr=3e-3, count=64, **options):
    """(accuracy on 500 new sequences, steps taken); stops when a fresh batch is all right."""
    lc.seed(0)
    rng = np.random.default_rng(0)
    model, loss = Copier(**options), CrossEntropy()
    x, y = batch(rng, count)
    model(x)
    optimizer = Adam(model.parameters(), lr=lr)
    test, answers = batch(np.random.default_rng(1), 500)
    for step in range(1, steps + 1):
        x, y = batch(rng, count)
        logits = model(x)[:, LENGTH:]
        loss(logits.reshape((-1, TOKENS)), y.reshape(-1)).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            model.eval()
            with lc.no_grad():
                right = model(test)[:, LENGTH:].numpy().argmax(-1) == answers
            model.train()
            if right.all():
                break
    return right.mean(), step


class Translator(Model):
    """An encoder-decoder: source tokens and the target's so far to logits of the next ones. ``TOKENS`` begins a target."""

    def __init__(self, **options):
        self.embed = Embedding(TOKENS + 1, WIDTH)
        self.body = Transformer(
            **{"num_encoder_layers": 1, "num_decoder_layers": 1, "num_heads": 4, "dropout": 0.0, "norm_first": True,
               "position": PLACES, "hidden_features": 64, **options}
        )  # fmt: skip
        self.head = Dense(TOKENS)

    def forward(self, src, tgt):
        return self.head(self.body(self.embed(src), self.embed(tgt)))

    def greedy(self, src):
        """Token by token, each the likeliest."""
        memory, cache = self.body.encode(self.embed(src)), KeyValueCache()
        tokens = [np.full((len(src), 1), TOKENS)]
        for _ in range(src.shape[1]):
            y = self.body.decode(self.embed(tokens[-1]), memory, cache=cache)
            tokens.append(self.head(y).numpy().argmax(-1))
        return np.concatenate(tokens[1:], axis=1)


def translate(steps=1000, lr=3e-3, count=64, seed=0, **options):
    """(share of tokens that greedy decoding gets right on 500 new sequences, steps taken)."""
    lc.seed(seed)
    rng = np.random.default_rng(seed)
    model, loss = Translator(**options), CrossEntropy()
    optimizer = Adam(model.parameters(), lr=lr)
    test = batch(np.random.default_rng(seed + 1), 500)[1]
    for step in range(1, steps + 1):
        src = batch(rng, count)[1]
        tgt = np.concatenate([np.full((count, 1), TOKENS), src[:, :-1]], axis=1)
        loss(model(src, tgt).reshape((-1, TOKENS)), src.reshape(-1)).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 40 == 0:
            model.eval()
            with lc.no_grad():
                right = model.greedy(test) == test
            model.train()
            if right.all():
                break
    return right.mean(), step
