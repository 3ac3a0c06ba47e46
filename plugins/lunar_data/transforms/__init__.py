"""Transforms of images, tokens, tables and series; on single examples and on batches, with the same results."""

from lunar_data.transforms.basic import Compose, Normalize, RandomApply, Statistics, ToFloat, statistics
from lunar_data.transforms.colour import ColorJitter, Grayscale
from lunar_data.transforms.geometry import (
    Affine,
    CenterCrop,
    HorizontalFlip,
    Pad,
    Perspective,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    Rotate,
    VerticalFlip,
)
from lunar_data.transforms.mixing import CutMix, MixUp
from lunar_data.transforms.noise import Cutout, GaussianBlur, GaussianNoise, RandomErasing
from lunar_data.transforms.policies import AutoAugment, RandAugment, TrivialAugment
from lunar_data.transforms.sequences import (
    FeatureDropout,
    FeatureNoise,
    SeriesMask,
    SeriesScale,
    SeriesWindow,
    TokenMask,
    TokenSwap,
)

__all__ = [
    "Affine",
    "AutoAugment",
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "CutMix",
    "Cutout",
    "FeatureDropout",
    "FeatureNoise",
    "GaussianBlur",
    "GaussianNoise",
    "Grayscale",
    "HorizontalFlip",
    "MixUp",
    "Normalize",
    "Pad",
    "Perspective",
    "RandAugment",
    "RandomApply",
    "RandomCrop",
    "RandomErasing",
    "RandomResizedCrop",
    "Resize",
    "Rotate",
    "SeriesMask",
    "SeriesScale",
    "SeriesWindow",
    "Statistics",
    "ToFloat",
    "TokenMask",
    "TokenSwap",
    "TrivialAugment",
    "VerticalFlip",
    "statistics",
]
