"""A variational autoencoder.

    LUNAR_DATA=folder python examples/vae.py

Source: D. Kingma and M. Welling, Auto-Encoding Variational Bayes, arXiv:1312.6114. Pixels count as probabilities; the
bound is in nats per picture.

Result (seed 0, 8,000 images of MNIST, 2,000 others to test): 106.7 nats after 50 epochs, 30 seconds on one core.
"""

import numpy as np
from example_data import QUICK, images, show

import lunar_core as lc
from lunar_training import Trainer

layers = lc.layers


class VAE(lc.Module):
    """(logits of the pixels, mean, log variance) of pictures."""

    def __init__(self, shape, width=400, latent=20):
        pixels = int(np.prod(shape))
        self.latent = latent
        self.encoder = layers.Sequential(layers.Flatten(), layers.Dense(width), layers.GELU(), layers.Dense(2 * latent))
        self.decoder = layers.Sequential(
            layers.Dense(width), layers.GELU(), layers.Dense(pixels), layers.Reshape(shape)
        )

    def forward(self, x):
        mean, log_variance = lc.ops.split(self.encoder(x), 2, axis=1)
        code = mean + (log_variance * 0.5).exp() * lc.random.normal(mean.shape)
        return self.decoder(code), mean, log_variance

    def sample(self, count):
        with lc.no_grad():
            return self.decoder(lc.random.normal((count, self.latent))).sigmoid().numpy()


def negative_elbo(pred, target):
    """The mean over the pictures of reconstruction error and distance from the prior."""
    logits, mean, log_variance = pred
    error = lc.losses.BCEWithLogits(reduction="sum")(logits, target)
    distance = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
    return (error + distance) / len(target)


def main(quick=QUICK):
    (x, _), (x_test, _) = (part.arrays() for part in images(quick))
    lc.seed(0)
    model = VAE(x.shape[1:], width=128 if quick else 400)
    optimizer = lc.optimizers.Adam(model.parameters(), lr=2e-3)
    trainer = Trainer(model, negative_elbo, optimizer, scheduler="cosine", seed=0)
    trainer.fit((x, x), epochs=20 if quick else 50, batch_size=64)
    figures = trainer.evaluate((x_test, x_test))
    show(model.sample(6))
    print(f"test bound {figures['loss']:.2f} nats per picture")
    return figures


if __name__ == "__main__":
    main()
