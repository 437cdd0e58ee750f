"""Very deep convolutional networks that read texts character by character: SVP's target for reviews, and its proxy.

Source: Conneau, Schwenk, Barrault & LeCun, Very Deep Convolutional Networks for Text Classification, EACL 2017,
sections 3.1 to 3.3, figure 1 and table 2, without the optional shortcuts. As proxy and target: Coleman et al.,
Selection via Proxy, ICLR 2020; from its code are the convolutions without biases, drawn as in He et al., Delving Deep
into Rectifiers, ICCV 2015, by their inputs (fan_in), and the linear layers with PyTorch's weights. Padding is embedded
as zeros.

All of it is deterministic on a CPU; on a GPU the gradients of embedding and gather are in PyTorch's deterministic mode.
"""

from functools import partial

import torch
from torch import Tensor, nn

from tasks.errors import ConfigError
from tasks.models.characters import PADDING, TOKENS
from tasks.models.taps import Taps, tapped

_EMBEDDED = 16
#: Channels of the stages; each of them but the first halves the length.
_WIDTHS = (64, 128, 256, 512)
#: Blocks of two convolutions that each stage has, by the number of convolutions in all.
_BLOCKS = {9: (1, 1, 1, 1), 29: (5, 5, 2, 2)}
#: How many values of each channel are left in the end, of a text however long.
_KEPT = 8
_HIDDEN = 2048
#: Characters of which the last stage has `_KEPT` positions.
_SHORTEST = 8 * (_KEPT - 1) + 1


def _build(name: str, depth: int, pooled: bool, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Embedding, convolution, four stages of blocks, the largest values of each channel, and three linear layers.

    A text is an image of one row: with the channels innermost, which is how embedding leaves them, PyTorch's
    convolutions of images are quicker on a CPU than those of sequences.

    Args:
        name: in the registry.
        depth: number of convolutions, 9 or 29.
        pooled: whether the length is halved by the maximum of three neighbours, or by a convolution's stride.
        shape: (characters,) of one text; the model takes a batch of their numbers, (n, characters), of any type.
        outputs: the model returns float (n, outputs).

    Raises:
        ConfigError: the items are not rows of characters, or are too short.
    """
    if len(shape) != 1 or shape[0] < _SHORTEST:
        raise ConfigError(
            f"train.model: {name} takes texts (characters,) of a length of at least {_SHORTEST}, padding included, "
            f"not items of shape {shape}; choose another train.model or another dataset"
        )
    stages, inputs = [], _WIDTHS[0]
    for width, blocks in zip(_WIDTHS, _BLOCKS[depth], strict=True):
        stages.append(_stage(inputs, width, blocks, pooled))
        inputs = width
    layers = [
        _Embedding(),
        _convolution(_EMBEDDED, _WIDTHS[0]),
        *stages,
        _Largest(),
        nn.Flatten(),
        nn.Linear(inputs * _KEPT, _HIDDEN),
        nn.ReLU(inplace=True),
        nn.Linear(_HIDDEN, _HIDDEN),
        nn.ReLU(inplace=True),
        nn.Linear(_HIDDEN, outputs),
    ]
    return tapped(nn.Sequential(*layers), Taps(head="12", stages=("2", "3", "4", "5")))


vdcnn9 = partial(_build, "vdcnn9", 9, True)
vdcnn29 = partial(_build, "vdcnn29", 29, True)
vdcnn29_conv = partial(_build, "vdcnn29_conv", 29, False)


class _Embedding(nn.Module):
    """Numbers of characters, (n, length), as vectors, float (n, 16, 1, length)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, _EMBEDDED, padding_idx=PADDING)

    def forward(self, x: Tensor) -> Tensor:
        """A view of the embedded characters, channels innermost."""
        embedded: Tensor = self.embedding(x.int())
        return embedded.transpose(1, 2).unsqueeze(2)


class _Largest(nn.Module):
    """k-max pooling: of each channel the 8 largest values, in the order in which they stand in the text."""

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, 8), from (n, channels, 1, length)."""
        x = x.flatten(2)
        places = torch.topk(x, _KEPT, dim=2, sorted=False).indices.sort(dim=2).values
        return x.gather(2, places)


def _stage(inputs: int, width: int, blocks: int, pooled: bool) -> nn.Sequential:
    """Blocks of so many channels; the first of them halves the length where there are more channels than before."""
    halved = inputs != width
    layers: list[nn.Module] = [nn.MaxPool2d((1, 3), stride=(1, 2), padding=(0, 1))] if halved and pooled else []
    for convolution in range(2 * blocks):
        stride = 2 if halved and not pooled and convolution == 0 else 1
        layers += [_convolution(inputs, width, stride), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        inputs = width
    return nn.Sequential(*layers)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Of three neighbouring characters."""
    convolution = nn.Conv2d(inputs, outputs, (1, 3), stride=(1, stride), padding=(0, 1), bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return convolution
