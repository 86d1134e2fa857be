"""Uploads: what is refused, and what the model is given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from attnflow import AttnFlowError
from attnflow.explore import uploads
from attnflow.explore.uploads import uploaded_image

SHAPE = (1, 8, 8)


def refusal(path) -> str:
    """The sentence with which a file is refused."""
    with pytest.raises(AttnFlowError) as refused:
        uploaded_image(path, SHAPE, 17)
    assert str(path.parent) not in str(refused.value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_file_of_200_mb_is_refused_unread(tmp_path, monkeypatch) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(200 * 2**20)
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("it was opened"))
    assert refusal(path) == "upload: expected an image of 10 MB or less, got huge.png of 200 MB."


@pytest.mark.parametrize("content", [b"", b"words", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n"])
def test_what_is_no_image_is_refused(tmp_path, content) -> None:
    path = tmp_path / "words.png"
    path.write_bytes(content)
    assert refusal(path) == (
        "upload: expected an image (PNG, JPEG, WebP, TIFF, ...), got words.png, which cannot be "
        "read."
    )


def test_a_truncated_image_is_refused(tmp_path) -> None:
    path = tmp_path / "half.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    assert "got half.png, which cannot be read." in refusal(path)


def test_too_many_pixels_are_refused_undecoded(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(uploads, "decode", lambda *_, **__: pytest.fail("it was decoded"))
    Image.new("L", (4097, 2)).save(tmp_path / "wide.png")
    told = "upload: expected an image of 4096 pixels a side or fewer, got wide.png of 4097 x 2."
    assert refusal(tmp_path / "wide.png") == told
    Image.new("1", (20000, 20000)).save(tmp_path / "bomb.png")
    assert "got bomb.png of more." in refusal(tmp_path / "bomb.png")


def test_an_image_that_the_house_does_not_read_is_told_by_its_name(tmp_path) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (0, 255)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert refusal(tmp_path / "moving.gif") == (
        "upload: moving.gif: expected one image, got 2 frames."
    )


def test_colour_of_any_size_becomes_what_the_model_takes(tmp_path) -> None:
    picture = Image.new("RGB", (40, 20), (255, 255, 255))
    picture.paste((0, 0, 0), (0, 0, 20, 20))
    picture.save(tmp_path / "half.png")
    image = uploaded_image(tmp_path / "half.png", SHAPE, 17)
    assert (image.shape, image.dtype) == (SHAPE, torch.uint8)
    assert image[0, :, 0].tolist() == [0] * 8
    assert image[0, :, -1].tolist() == [16] * 8


def test_a_padded_model_is_given_zeros_around_the_image(tmp_path) -> None:
    Image.new("L", (9, 9), 255).save(tmp_path / "white.png")
    image = uploaded_image(tmp_path / "white.png", (1, 4, 4), 256, (1, 8, 8))
    expected = torch.zeros(1, 8, 8, dtype=torch.uint8)
    expected[:, 2:6, 2:6] = 255
    assert torch.equal(image, expected)
