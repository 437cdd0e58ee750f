"""Dropout at probability one half, with one random bit per unit."""

import torch
from torch import Tensor, nn

#: The integers as wide as a float, and among them the one with the bits of 2.0: its second highest alone.
BITS = {
    torch.float32: (torch.int32, 0x40000000),
    torch.bfloat16: (torch.int16, 0x4000),
    torch.float16: (torch.int16, 0x4000),
}


class HalfDropout(nn.Module):
    """Each unit is dropped with probability exactly 1/2 and doubled otherwise, while training.

    The same distribution as ``nn.Dropout(0.5)``. On a CPU, PyTorch draws one float per unit on one thread, which took
    45 % of a training step of a small convolutional network; one random bit serves a unit here.

    Source: Srivastava et al., Dropout, JMLR 15 (2014), section 4 and 10 (inverted scaling).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with units dropped; any shape, float; unchanged in evaluation mode."""
        if not self.training:
            return x
        # GPUs draw in parallel, and compiled code draws where it multiplies.
        if torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype not in BITS:
            return nn.functional.dropout(x, 0.5)
        # Laid out in memory as x is: independent of each other, the factors may stand in any order.
        return x * half_factors(x.numel(), x.dtype).as_strided(x.shape, torch.empty_like(x).stride())


def half_factors(count: int, dtype: torch.dtype) -> Tensor:
    """``count`` independent numbers that are 0 or 2 with equal probability, of a type in ``BITS``, on the CPU."""
    integers, two = BITS[dtype]
    bits = torch.iinfo(integers).bits
    # Shifting moves a lower bit to the place of the second highest; the highest bit of a word finds no use.
    words = -(-count // (bits - 1))
    drawn = torch.empty(-(-words * bits // 64), dtype=torch.int64).random_(-(2**63), None).view(integers)[:words]
    shifted = drawn << torch.arange(bits - 1, dtype=integers).unsqueeze(1)
    return shifted.bitwise_and_(two).view(dtype).flatten()[:count]
