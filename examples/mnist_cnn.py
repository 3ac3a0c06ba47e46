"""A convolutional network on MNIST: batch norm, label smoothing, one cycle of the learning rate.

    LUNAR_DATA=folder python examples/mnist_cnn.py

Result (seed 0, 8,000 images of MNIST, 2,000 others to test): 0.9885 right after 8 epochs, 45 seconds on one core.
"""

from example_data import QUICK, images

import lunar_core as lc
from lunar_training import Trainer

layers = lc.layers


def block(channels):
    """Two 3x3 convolutions and a halving of the picture."""
    return layers.Sequential(
        layers.Conv2D(channels, 3, padding="same", use_bias=False), layers.BatchNorm2D(), layers.ReLU(),
        layers.Conv2D(channels, 3, padding="same", use_bias=False), layers.BatchNorm2D(), layers.ReLU(),
        layers.MaxPool2D(2),
    )  # fmt: skip


def main(quick=QUICK):
    train, test = images(quick)
    epochs, batch_size, width = (3, 32, 8) if quick else (8, 64, 16)
    lc.seed(0)
    model = layers.Sequential(block(width), block(2 * width), layers.Flatten(), layers.Dropout(0.3), layers.Dense(10))
    optimizer = lc.optimizers.AdamW(model.parameters(), lr=1e-2, weight_decay=0.05)
    trainer = Trainer(
        model,
        loss=lc.losses.CrossEntropy(label_smoothing=0.05),
        optimizer=optimizer,
        scheduler="one_cycle",
        metrics=["accuracy"],
        seed=0,
    )
    trainer.fit(train, epochs=epochs, batch_size=batch_size)
    figures = trainer.evaluate(test)
    print(f"test accuracy {figures['accuracy']:.4f}")
    return figures


if __name__ == "__main__":
    main()
