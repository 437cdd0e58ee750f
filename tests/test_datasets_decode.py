"""Image files of any size, mode and orientation become arrays of one size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.datasets import decode
from tasks.errors import DataError
from tests.datasets_helpers import configuration


def decoded(picture: Image.Image | None, path: Path, channels: int = 3, size: int = 8, **options):
    """The array of one image that is saved at ``path`` first."""
    if picture is not None:
        picture.save(path, **options)
    config = configuration(channels=channels, image_size=size).dataset
    return decode.reader([str(path)], lambda row: f"item {row}", config)(np.array([0]))[0]


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_image_of_the_right_size_is_exact(tmp_path):
    picture = noise(8, 8)

    assert np.array_equal(decoded(picture, tmp_path / "a.png"), np.asarray(picture).transpose(2, 0, 1))


def test_long_side_is_cropped_to_its_centre(tmp_path):
    picture = noise(13, 8)
    expected = np.asarray(picture).transpose(2, 0, 1)[:, :, 2:10]

    assert np.array_equal(decoded(picture, tmp_path / "a.png"), expected)


def test_large_image_is_averaged_and_not_sampled(tmp_path):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255

    small = decoded(Image.fromarray(stripes), tmp_path / "a.png", channels=1)

    assert np.abs(small.astype(int) - 127).max() <= 3


def test_small_image_is_enlarged(tmp_path):
    assert (decoded(Image.new("L", (2, 3), 9), tmp_path / "a.png", channels=1) == 9).all()


def test_orientation_of_the_camera_is_honoured(tmp_path):
    picture = Image.new("RGB", (8, 8))
    picture.paste((255, 255, 255), (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: what is stored on top belongs on the right

    turned = decoded(picture, tmp_path / "a.png", exif=exif)

    assert (turned[:, :, 4:] == 255).all()
    assert (turned[:, :, :4] == 0).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_is_brought_to_the_channels(tmp_path, mode, channels):
    ending = "tif" if mode == "CMYK" else "png"

    assert decoded(Image.new(mode, (8, 8)), tmp_path / f"a.{ending}", channels).shape == (channels, 8, 8)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    picture = Image.fromarray(np.full((8, 8), 0x8000, np.uint16))

    assert (decoded(picture, tmp_path / "a.png", channels=1) == 0x80).all()


def test_large_photograph_is_close_to_its_full_decoding(tmp_path):
    smooth = np.linspace(0, 255, 640).astype(np.uint8)[None].repeat(480, axis=0)
    small = decoded(Image.fromarray(smooth), tmp_path / "a.jpg", channels=1, size=16)
    reference = decoded(Image.fromarray(smooth), tmp_path / "a.png", channels=1, size=16)

    assert np.abs(small.astype(int) - reference).max() <= 3


@pytest.mark.parametrize("share", [2.5, 1.5])
def test_image_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch, share):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(64 * 64 / share))

    with pytest.raises(DataError, match="item 0: image too large to be safe"):
        decoded(Image.new("L", (64, 64)), tmp_path / "a.png")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"item 0: no such image file .*gone\.png"):
        decoded(None, tmp_path / "gone.png")


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "gif", "tif"])
@pytest.mark.parametrize("kept", [0, 3, 20, 100])
def test_truncated_file_is_refused_whatever_its_format(tmp_path, ending, kept):
    path = tmp_path / f"a.{ending}"
    noise(16, 16).save(path)
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(DataError, match="item 0: not a readable image"):
        decoded(None, path)


def test_first_damaged_item_of_a_chunk_is_named(tmp_path):
    for name in "abcd":
        noise(8, 8).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_text("x")
    (tmp_path / "d.png").write_text("x")
    paths = [str(tmp_path / f"{name}.png") for name in "abcd"]
    read = decode.reader(paths, lambda row: f"item {row}", configuration(image_size=8).dataset)

    assert read(np.array([2, 0])).shape == (2, 3, 8, 8)
    with pytest.raises(DataError, match="item 1:"):
        read(np.arange(4))


def test_formats_that_start_programs_are_not_tried(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(DataError, match=r"x\.png: not a readable image"):
        decode.reader([str(path)], lambda row: "x.png", configuration(name="folder").dataset)(np.array([0]))
