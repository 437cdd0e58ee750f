"""Normalised and augmented batches."""

import pytest
import torch

from tasks.config_train import AugmentConfig
from tasks.datasets.images import augment, check_augment, normalise
from tasks.errors import ConfigError

MEAN, STD = (0.5, 0.25, 0.1), (0.2, 0.3, 0.4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramp(count: int = 64, channels: int = 2, height: int = 6, width: int = 5) -> torch.Tensor:
    """Images whose every pixel has a value of its own; all of them alike."""
    return torch.arange(channels * height * width).float().view(1, channels, height, width).repeat(count, 1, 1, 1)


def test_normalised_batch_follows_the_formula():
    batch = torch.randint(0, 256, (4, 3, 5, 6), dtype=torch.uint8, generator=generator())
    expected = (batch.double() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)

    result = normalise(batch, MEAN, STD)

    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), expected, atol=1e-5, rtol=1e-5)


def test_normalised_batch_keeps_its_memory_format_and_its_input():
    batch = torch.zeros(2, 3, 4, 4, dtype=torch.uint8).to(memory_format=torch.channels_last)

    assert normalise(batch, list(MEAN), list(STD)).is_contiguous(memory_format=torch.channels_last)
    assert (batch == 0).all()


def test_batch_normalised_in_inference_mode_first_can_be_trained_on_later():
    batch, weight = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.ones(1, requires_grad=True)
    with torch.inference_mode():
        normalise(batch, (0.1, 0.2, 0.3), STD)

    (normalise(batch, (0.1, 0.2, 0.3), STD) * weight).sum().backward()

    assert weight.grad is not None


def test_constant_channel_stays_finite():
    batch = torch.full((2, 1, 4, 4), 77, dtype=torch.uint8)

    assert normalise(batch, [round(77 / 255, 6)], [0.0]).abs().max() < 1e-3


def test_nothing_switched_on_returns_the_batch_itself():
    batch, source = ramp(), generator()
    before = source.get_state()

    assert augment(batch, AugmentConfig(), source) is batch
    assert torch.equal(source.get_state(), before)


def test_flip_mirrors_about_half_of_the_images():
    batch = ramp(1000)

    result = augment(batch, AugmentConfig(flip=True), generator())

    mirrored = (result == batch.flip(3)).flatten(1).all(1)
    assert (mirrored | (result == batch).flatten(1).all(1)).all()
    assert 400 < mirrored.sum() < 600


def test_crop_is_a_window_of_the_reflected_padding():
    batch, padding = ramp(500), 2
    padded = torch.nn.functional.pad(batch[:1], (padding,) * 4, mode="reflect")
    windows = padded.unfold(2, 6, 1).unfold(3, 5, 1)[0].permute(1, 2, 0, 3, 4).flatten(0, 1)

    result = augment(batch, AugmentConfig(crop=padding), generator())

    matches = (result[:, None] == windows[None]).flatten(2).all(2)
    assert (matches.sum(1) == 1).all()
    assert (matches.sum(0) > 0).all()


def test_flip_and_crop_together_are_mirrored_windows():
    batch = ramp(200)
    cropped = augment(batch, AugmentConfig(crop=1), generator(3))
    both = augment(batch, AugmentConfig(crop=1, flip=True), generator(3))

    same = (both == cropped).flatten(1).all(1)
    mirrored = (both == cropped.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 0 < same.sum() < 200


def test_brightness_shifts_each_image_by_one_number_in_range():
    batch = ramp()
    shift = (augment(batch, AugmentConfig(brightness=0.5), generator()) - batch).flatten(1)

    assert shift.std(1).max() < 1e-4
    assert shift.abs().max() <= 0.5 + 1e-4
    assert shift[:, 0].std() > 0.2


def test_contrast_multiplies_each_image_by_one_number_in_range():
    batch = ramp() + 1
    factor = (augment(batch, AugmentConfig(contrast=0.5), generator()) / batch).flatten(1)

    assert factor.std(1).max() < 1e-5
    assert factor.min() >= 0.5 - 1e-5
    assert factor.max() <= 1.5 + 1e-5
    assert factor[:, 0].std() > 0.2


def test_equal_generators_give_equal_batches_and_leave_the_input():
    config = AugmentConfig(flip=True, crop=2, brightness=0.2, contrast=0.2)
    batch = ramp()
    first, second, other = (augment(batch, config, generator(seed)) for seed in (1, 1, 2))

    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(batch, ramp())


def test_channels_last_batch_gives_the_same_values():
    config = AugmentConfig(flip=True, crop=2)
    batch = ramp()

    result = augment(batch.to(memory_format=torch.channels_last), config, generator())

    assert torch.equal(result, augment(batch, config, generator()))


def test_half_precision_stays():
    config = AugmentConfig(flip=True, crop=1, brightness=0.2, contrast=0.2)

    assert augment(ramp().bfloat16(), config, generator()).dtype == torch.bfloat16


def test_crop_as_large_as_the_image_is_refused():
    with pytest.raises(ConfigError, match=r"train\.augment\.crop: 5 pixels"):
        augment(ramp(), AugmentConfig(crop=5), generator())


def test_crop_too_large_is_known_from_the_shape_alone():
    check_augment(AugmentConfig(crop=4, flip=True), (2, 6, 5))
    with pytest.raises(ConfigError, match=r"train\.augment\.crop: 5 pixels .* larger images than 6x5"):
        check_augment(AugmentConfig(crop=5), (2, 6, 5))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_cpu():
    config = AugmentConfig(flip=True, crop=2, brightness=0.2, contrast=0.2)
    batch = torch.randint(0, 256, (8, 3, 6, 6), dtype=torch.uint8, generator=generator())
    expected = augment(normalise(batch, MEAN, STD), config, generator())

    result = augment(normalise(batch.cuda(), MEAN, STD), config, generator())

    torch.testing.assert_close(result.cpu(), expected)
