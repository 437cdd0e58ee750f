"""Squared norm of each item's gradient of a convolution's weights, in whichever form is cheaper."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.models.gradients.products import product_norms, squared, wide

#: A multiplication of the Gram form over one of the direct form: small matrices keep a processor less busy.
_GRAM_PRICE = 1.25

Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """How the kernel passes over an image; rows before columns."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


def convolution_norms(module: nn.Conv1d | nn.Conv2d, x: Tensor, g: Tensor) -> Tensor:
    """‖Σ_positions patch ⊗ output gradient‖² of each item, (n,), float32 or float64.

    Args:
        module: any stride, padding, dilation and groups.
        x: its input, (n, channels, width) or (n, channels, height, width).
        g: the gradient of its output, in one dtype with the products.
    """
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        x, padding = functional.pad(x, module._reversed_padding_repeated_twice, mode=mode), (0, 0)
    else:
        padding = _pair(module.padding, 0)
    x, weight = x.to(g.dtype), module.weight.detach().to(g.dtype)
    if g.ndim == 3:
        x, g, weight = x.unsqueeze(2), g.unsqueeze(2), weight.unsqueeze(2)
    kernel = (weight.shape[2], weight.shape[3])
    geometry = Geometry(kernel, _pair(module.stride, 1), padding, _pair(module.dilation, 1), module.groups)
    if _multiplications_of_grams(x, g) * _GRAM_PRICE < g[0].numel() * weight[0].numel():
        return gram_form(x, g, geometry)
    if g.device.type == "cpu":
        return item_form(x, g, weight, geometry)
    return patch_form(x, g, geometry)


def _pair(sizes: tuple[int, ...], before: int) -> Pair:
    """Of a convolution in one dimension, that of one row."""
    return (sizes[0], sizes[1]) if len(sizes) == 2 else (before, sizes[0])


def _multiplications_of_grams(x: Tensor, g: Tensor) -> int:
    return sum(image[0].numel() * image[0, 0].numel() for image in (x, g))


def item_form(x: Tensor, g: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Each item's gradient by the kernel that training uses: on a CPU the fastest where there are many positions.

    It writes no patches, and one call has work enough to hide what it costs to make it.
    """
    settings = (None, geometry.stride, geometry.padding, geometry.dilation, False, (0, 0), geometry.groups)
    backward = torch.ops.aten.convolution_backward
    gradients = (
        backward(g[item : item + 1], x[item : item + 1], weight, *settings, (False, True, False))[1]
        for item in range(len(g))
    )
    return torch.stack([squared(gradient.flatten(), 0) for gradient in gradients])


def patch_form(x: Tensor, g: Tensor, geometry: Geometry) -> Tensor:
    """One product of patches and output gradients for all items and groups."""
    patches = functional.unfold(x, geometry.kernel, geometry.dilation, geometry.padding, geometry.stride)
    return _summed(product_norms(_grouped(patches, geometry), _grouped(g.flatten(2), geometry)), geometry)


def gram_form(x: Tensor, g: Tensor, geometry: Geometry) -> Tensor:
    """Σ over pairs of positions of the patches' inner product times that of the output gradients: (XᵀX)∘(GᵀG).

    Inner products of patches are sums of inner products of pixels, so that no patch is ever written.
    """
    pixels, outputs = (wide(_grouped(image.flatten(2), geometry)) for image in (x, g))
    inner = torch.bmm(pixels.transpose(1, 2), pixels).view(-1, *x.shape[2:], *x.shape[2:])
    for axis in (0, 1):
        inner = _folded(inner, g.shape[2 + axis], geometry, axis)
    outer = torch.bmm(outputs.transpose(1, 2), outputs)
    # Rounding may leave a gradient of nothing just below it.
    return _summed(inner.view_as(outer).mul_(outer).flatten(1).sum(1), geometry).clamp_min(0)


def _folded(inner: Tensor, size: int, geometry: Geometry, axis: int) -> Tensor:
    """Inner products of pixels, (m, height, width, height, width), as those of ``size`` patches along one axis."""
    stride, pixels = geometry.stride[axis], inner.shape[1 + axis]
    shape = list(inner.shape)
    shape[1 + axis] = shape[3 + axis] = size
    folded = inner.new_zeros(shape)
    for tap in range(geometry.kernel[axis]):
        offset = tap * geometry.dilation[axis] - geometry.padding[axis]
        # The outputs whose tap lies inside of the image.
        first, end = max(0, -(offset // stride)), min(size, (pixels - 1 - offset) // stride + 1)
        if first < end:
            seen = slice(first * stride + offset, (end - 1) * stride + offset + 1, stride)
            _both(folded, axis, slice(first, end)).add_(_both(inner, axis, seen))
    return folded


def _both(inner: Tensor, axis: int, chosen: slice) -> Tensor:
    """``chosen`` of one axis, on both sides of the pairs."""
    return inner[:, chosen, :, chosen] if axis == 0 else inner[:, :, chosen, :, chosen]


def _grouped(matrices: Tensor, geometry: Geometry) -> Tensor:
    """(n, groups · rows, columns) as (n · groups, rows, columns)."""
    return matrices.reshape(len(matrices) * geometry.groups, -1, matrices.shape[2])


def _summed(norms: Tensor, geometry: Geometry) -> Tensor:
    return norms.view(-1, geometry.groups).sum(1)
