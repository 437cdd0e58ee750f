"""fastText's classifier: the mean of the embeddings of a text's words and word n-grams, and a linear layer."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.config_train import FastTextConfig
from tasks.models.taps import Taps, tapped


def build(shape: tuple[int, ...], outputs: int, settings: FastTextConfig) -> nn.Module:
    """fastText's classifier.

    Args:
        shape: (features,), how many words and places of n-grams have an embedding.
        outputs: the model returns float (batch, outputs).
        settings: dim is the embeddings'.
    """
    (width,) = shape
    return tapped(FastText(width, outputs, settings.dim), Taps(head="head"))


class FastText(nn.Module):
    """The mean of the embeddings of a bag's features, zeros for an empty bag, and a linear layer without bias.

    It takes what ``Bags.tensor`` returns. The gradient of the embeddings is sparse and coalesced: it holds only the
    batch's features, so that a step of plain SGD costs what they cost. The embeddings begin as zeros and the layer
    from the standard normal distribution; fastText has it the other way round, embeddings from ±1/dim and a layer of
    zeros, whereby features that no labelled text has would go on adding noise to every text that has them.

    Source: Joulin, Grave, Bojanowski & Mikolov, Bag of Tricks for Efficient Text Classification, EACL 2017, section 2,
    with a plain softmax.
    """

    def __init__(self, width: int, outputs: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag.from_pretrained(
            torch.zeros(width, dim), freeze=False, mode="mean", sparse=True, include_last_offset=True
        )
        self.embedding.weight.register_post_accumulate_grad_hook(_mark_distinct)  # type: ignore[no-untyped-call]
        self.head = nn.Linear(dim, outputs, bias=False)
        nn.init.normal_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, outputs), from sparse CSR (batch, width)."""
        hidden = _MeanOfRows.apply(self.embedding.weight, x.col_indices(), x.crow_indices())
        logits: Tensor = self.head(hidden)
        return logits


class _MeanOfRows(torch.autograd.Function):
    """What nn.EmbeddingBag computes, with a gradient that holds each row once.

    Its own holds a row as often as the batch has it, which PyTorch's SGD takes one by one.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, features: Tensor, offsets: Tensor) -> Tensor:
        ctx.save_for_backward(features, offsets)
        ctx.shape = weight.shape
        return functional.embedding_bag(features, weight, offsets, mode="mean", include_last_offset=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        features, offsets = ctx.saved_tensors
        lengths = offsets.diff()
        shares = gradient / lengths.clamp(min=1)[:, None]
        bags = torch.arange(len(lengths), device=features.device)
        bags = bags.repeat_interleave(lengths, output_size=len(features))
        # Features in the upper 32 bits, bags in the lower: sorted, all bags of a feature lie side by side.
        pairs = _sorted(features.long() << 32 | bags)
        rows, counts = torch.unique_consecutive(pairs >> 32, return_counts=True)
        # The sum over a feature's bags of their gradients is a bag of its own.
        sums = functional.embedding_bag(pairs & 0xFFFFFFFF, shares, counts.cumsum(0) - counts, mode="sum")
        found = torch.sparse_coo_tensor(rows[None], sums, ctx.shape, is_coalesced=True, check_invariants=False)
        return found, None, None


def _mark_distinct(weight: Tensor) -> None:
    """Tell the gradient that its rows are distinct, which it forgot on its way to ``weight``: SGD is faster for it."""
    gradient = weight.grad
    assert gradient is not None
    rows = gradient._indices()[0]
    # In a sum over several backward passes they need not be.
    if bool((rows[1:] > rows[:-1]).all()):
        gradient._coalesced_(True)


def _sorted(values: Tensor) -> Tensor:
    # NumPy sorts whole numbers several times as fast on a CPU.
    return values.sort().values if values.is_cuda else torch.from_numpy(np.sort(values.numpy()))
