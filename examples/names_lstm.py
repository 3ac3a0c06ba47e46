"""An LSTM that makes up names, a character at a time.

    LUNAR_DATA=folder python examples/names_lstm.py

``names.txt`` holds one name a line. Names differ in length: what stands behind the end of one is a class that the loss
does not count (-100), so figures are per character that is there.

Result (seed 0, 32,033 names, a tenth of them to test): 1.902 nats per character, where the frequencies of pairs of
characters leave 2.450; two minutes on one core. It makes up arshika, iliora, jahlia, leilin, ...
"""

import numpy as np
from example_data import QUICK, text

import lunar_core as lc
from lunar_training import Trainer

layers = lc.layers
END = 0  # begins and ends a name


class Namer(lc.Module):
    """Logits of the next character after each of those so far, and the state of the LSTM."""

    def __init__(self, characters, width):
        self.embed = layers.Embedding(characters, width // 4)
        self.lstm = layers.LSTM(width, return_state=True)
        self.drop = layers.Dropout(0.2)
        self.head = layers.Dense(characters)

    def forward(self, tokens):
        return self.step(tokens)[0]

    def step(self, tokens, state=None):
        x, state = self.lstm(self.embed(tokens), state)
        return self.head(self.drop(x)), state


def encode(names, codes):
    """Tokens (N, T) that begin with END, and the ones that follow them, -100 behind the end."""
    longest = max(map(len, names)) + 1
    x, y = np.full((len(names), longest), END), np.full((len(names), longest), -100)
    for row, name in enumerate(names):
        tokens = [codes[c] for c in name]
        x[row, 1 : len(name) + 1] = tokens
        y[row, : len(name) + 1] = [*tokens, END]
    return x, y


def invent(model, alphabet, count, rng, longest=20):
    """``count`` names, drawn character by character."""
    model.eval()
    tokens, state, names = np.full((count, 1), END), None, [""] * count
    for _ in range(longest):
        with lc.no_grad():
            logits, state = model.step(tokens, state)
        scores = logits[:, 0].numpy()
        tokens = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1, keepdims=True)  # a draw of their softmax
        names = [name + alphabet[c] for name, c in zip(names, tokens[:, 0])]
    return [name.split(alphabet[END])[0] for name in names]


def main(quick=QUICK):
    names = text("names.txt").split()
    alphabet = [".", *sorted(set("".join(names)))]
    codes = {character: code for code, character in enumerate(alphabet)}
    rng = np.random.default_rng(0)
    rng.shuffle(names)
    names = names[:3000] if quick else names
    held = len(names) // 10
    lc.seed(0)
    model = Namer(len(alphabet), 64 if quick else 256)
    optimizer = lc.optimizers.AdamW(model.parameters(), lr=5e-3)
    loss = lc.losses.CrossEntropy(axis=-1)
    trainer = Trainer(model, loss, optimizer, scheduler="cosine", clip_norm=1.0, seed=0)
    trainer.fit(encode(names[held:], codes), epochs=3 if quick else 8, batch_size=32 if quick else 128)
    figures = trainer.evaluate(encode(names[:held], codes))
    made = invent(model, alphabet, 12, rng)
    print(" ".join(made))
    print(f"test loss {figures['loss']:.4f} nats per character")
    return {**figures, "names": made}


if __name__ == "__main__":
    main()
