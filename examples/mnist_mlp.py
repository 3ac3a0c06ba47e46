"""A multilayer perceptron on MNIST.

    LUNAR_DATA=folder python examples/mnist_mlp.py

Result (seed 0, 8,000 images of MNIST, 2,000 others to test): 0.9675 right after 30 epochs, 8 seconds on one core.
"""

from example_data import QUICK, images

import lunar_core as lc
from lunar_training import Trainer


def main(quick=QUICK):
    train, test = images(quick)
    lc.seed(0)
    model = lc.layers.Sequential(
        lc.layers.Flatten(),
        lc.layers.Dense(256), lc.layers.ReLU(), lc.layers.Dropout(0.3),
        lc.layers.Dense(256), lc.layers.ReLU(), lc.layers.Dropout(0.3),
        lc.layers.Dense(10),
    )  # fmt: skip
    optimizer = lc.optimizers.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    trainer = Trainer(model, "cross_entropy", optimizer, scheduler="cosine", metrics=["accuracy"], seed=0)
    trainer.fit(train, epochs=8 if quick else 30, batch_size=64)
    figures = trainer.evaluate(test)
    print(f"test accuracy {figures['accuracy']:.4f}")
    return figures


if __name__ == "__main__":
    main()
