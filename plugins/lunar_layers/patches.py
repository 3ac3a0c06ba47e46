"""Images as tokens: PatchEmbedding, PatchMerging, ClassToken."""

from __future__ import annotations

import math
from typing import Any

from lunar_core import ops
from lunar_core.component import field, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError
from lunar_core.modes import modes
from lunar_core.module import Parameter
from lunar_core.op import Spec
from lunar_layers.checks import require_floating, require_images, require_sequences
from lunar_layers.dense import Dense
from lunar_layers.initializers import TruncatedNormal, XavierUniform, Zeros, as_initializer
from lunar_layers.parts import make_part, part


class PatchEmbedding(Layer):
    """Cuts images into patches and maps each one linearly to a token.

    Shapes: x (N, C, H, W) -> (N, patches, embed_dim), row by row, or (N, H', W', embed_dim) with ``flatten=False``;
    ``weight`` (embed_dim, C, patch height, patch width) is that of the convolution with stride ``patch_size`` that ViT
    is written with, ``bias`` (embed_dim,). A ``norm`` of tokens may follow. Weights start Xavier uniform over the
    flattened patch.

    Source: A. Dosovitskiy et al., An Image is Worth 16x16 Words, arXiv:2010.11929, equation 1.

    Raises:
        ShapeError: images that are not NCHW, have other channels, or sides that patches do not divide.
        DTypeError: integer inputs.
    """

    embed_dim: int = field(validator=positive, doc="width of a token")
    patch_size: int | tuple[int, int] = field(default=16, validator=positive, doc="height and width of a patch")
    in_channels: int | None = field(
        default=None, validator=positive, kw_only=True, doc="channels of the input; None learns them"
    )
    use_bias: bool = field(default=True, kw_only=True, doc="add a learned offset")
    flatten: bool = field(default=True, kw_only=True, doc="tokens on one axis; else on a grid")
    norm: Any = field(
        default=None, converter=part("layer"), kw_only=True, doc="normalisation of tokens, or its registry name"
    )
    weight_init: Initializer = field(
        factory=XavierUniform, converter=as_initializer, kw_only=True, doc="initializer of weight"
    )
    bias_init: Initializer = field(factory=Zeros, converter=as_initializer, kw_only=True, doc="initializer of bias")

    def __attrs_post_init__(self) -> None:
        self.token_norm = None if self.norm is None else make_part("layer", self.norm)
        super().__attrs_post_init__()

    def _patch(self) -> tuple[int, int]:
        return self.patch_size if isinstance(self.patch_size, tuple) else (self.patch_size, self.patch_size)

    def input_spec(self) -> Spec | None:
        return None if self.in_channels is None else Spec((1, self.in_channels, *self._patch()), modes.dtype)

    def build(self, x: Any) -> None:
        self._check(x)
        self.in_channels = x.shape[1]
        size = (self.in_channels, *self._patch())
        self.weight = Parameter(self.weight_init((self.embed_dim, math.prod(size))).reshape(self.embed_dim, *size))
        self.bias = Parameter(self.bias_init((self.embed_dim,))) if self.use_bias else None

    def forward(self, x: Any) -> Any:
        self._check(x)
        n, c, h, w = x.shape
        a, b = self._patch()
        # Patches do not overlap: the convolution is one product over rows of pixels.
        rows = x.reshape((n, c, h // a, a, w // b, b)).transpose(0, 2, 4, 1, 3, 5)
        rows = rows.reshape((n, (h // a) * (w // b), c * a * b))
        y = ops.linear(rows, self.weight.reshape((self.embed_dim, c * a * b)), self.bias)
        if self.token_norm is not None:
            y = self.token_norm(y)
        return y if self.flatten else y.reshape((n, h // a, w // b, self.embed_dim))

    def _check(self, x: Any) -> None:
        require_floating("PatchEmbedding", x)
        require_images("PatchEmbedding", x, self.in_channels)
        a, b = self._patch()
        if x.shape[2] % a or x.shape[3] % b or not x.shape[2] or not x.shape[3]:
            raise ShapeError(
                f"PatchEmbedding cuts images into patches of {a} x {b}, which do not divide {tuple(x.shape[2:])}",
                hint="resize or pad the images first",
            )


class PatchMerging(Layer):
    """Joins the tokens of 2 x 2 neighbours and maps them to one: half the height and width, twice the width of a token.

    Shapes: x (N, H, W, C) -> (N, ceil(H / 2), ceil(W / 2), out_features); odd sides get a row or column of zeros.
    ``norm`` acts on the 4 C features, in Swin's order (0, 0), (1, 0), (0, 1), (1, 1) of (row, column); ``reduction`` is
    a linear map without bias. ``out_features`` is 2 C unless given.

    Source: Z. Liu et al., Swin Transformer, arXiv:2103.14030, section 3.1.

    Raises:
        ShapeError: inputs that are not (N, H, W, C).
        DTypeError: integer inputs.
    """

    out_features: int | None = field(default=None, validator=positive, doc="width of the new tokens; None is 2 C")
    norm: Any = field(
        default="layer_norm", converter=part("layer"), kw_only=True, doc="normalisation before the map; None has none"
    )
    weight_init: Initializer = field(
        factory=lambda: TruncatedNormal(std=0.02),
        converter=as_initializer,
        kw_only=True,
        doc="initializer of reduction",
    )

    def __attrs_post_init__(self) -> None:
        self.token_norm = None if self.norm is None else make_part("layer", self.norm)
        super().__attrs_post_init__()

    def build(self, x: Any) -> None:
        self._check(x)
        width = x.shape[-1]
        self.out_features = 2 * width if self.out_features is None else self.out_features
        self.reduction = Dense(self.out_features, in_features=4 * width, use_bias=False, weight_init=self.weight_init)

    def forward(self, x: Any) -> Any:
        self._check(x)
        n, h, w, c = x.shape
        if h % 2 or w % 2:
            x = ops.pad(x, [(0, 0), (0, h % 2), (0, w % 2), (0, 0)])
            h, w = h + h % 2, w + w % 2
        x = x.reshape((n, h // 2, 2, w // 2, 2, c)).transpose(0, 1, 3, 4, 2, 5).reshape((n, h // 2, w // 2, 4 * c))
        if self.token_norm is not None:
            x = self.token_norm(x)
        return self.reduction(x)

    def _check(self, x: Any) -> None:
        require_floating("PatchMerging", x)
        if len(x.shape) != 4 or 0 in x.shape[1:]:
            raise ShapeError(
                f"PatchMerging expects tokens on a grid (N, H, W, C), got {tuple(x.shape)}",
                hint="PatchEmbedding(..., flatten=False) gives them so",
            )


class ClassToken(Layer):
    """Puts learned tokens in front of each sequence.

    Shapes: x (batch, time, width) -> (batch, num_tokens + time, width); ``weight`` (num_tokens, width), which starts
    normal with standard deviation 0.02, cut at 2. One token is ViT's and BERT's class token, several are registers
    (arXiv:2309.16588) or prompts.

    Source: A. Dosovitskiy et al., An Image is Worth 16x16 Words, arXiv:2010.11929, equation 1.

    Raises:
        ShapeError: inputs that are not (batch, time, width).
        DTypeError: integer inputs.
    """

    num_tokens: int = field(default=1, validator=positive, doc="how many tokens are put in front")
    embed_dim: int | None = field(
        default=None, validator=positive, kw_only=True, doc="width of a token; None learns it from the first call"
    )
    weight_init: Initializer = field(
        factory=lambda: TruncatedNormal(std=0.02), converter=as_initializer, kw_only=True, doc="initializer of weight"
    )

    def input_spec(self) -> Spec | None:
        return None if self.embed_dim is None else Spec((1, 1, self.embed_dim), modes.dtype)

    def build(self, x: Any) -> None:
        require_sequences("ClassToken", x, self.embed_dim)
        self.embed_dim = x.shape[-1]
        self.weight = Parameter(self.weight_init((self.num_tokens, self.embed_dim)))  # (num_tokens, width)

    def forward(self, x: Any) -> Any:
        require_sequences("ClassToken", x, self.embed_dim)
        token = ops.broadcast_to(self.weight, (x.shape[0], *self.weight.shape))
        return ops.concat([token, x], axis=1)
