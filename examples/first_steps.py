"""A model, an optimizer, a trainer: the digits in a few lines.

    python examples/first_steps.py

Result: 0.976 test accuracy after 15 epochs, about two seconds on two cores.
"""

import lunar_core as lc
from lunar_training import Trainer

lc.seed(0)
digits = lc.create("dataset", "digits")
train, test = digits.split(0.25, stratify=True, seed=0)

model = lc.layers.Sequential(
    lc.layers.Conv2D(16, 3, padding="same"),
    lc.layers.ReLU(),
    lc.layers.MaxPool2D(2),
    lc.layers.Flatten(),
    lc.layers.Dense(10),
)
optimizer = lc.optimizers.AdamW(model.parameters(), lr=3e-3)

trainer = Trainer(model, loss="cross_entropy", optimizer=optimizer, metrics=["accuracy"], seed=0)
trainer.fit(train, val=test, epochs=15, batch_size=32)
print(model)
print(trainer.evaluate(test))
