"""One image file as a tensor: what a viewer shows, or a refusal."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from written import pixels, write_image, write_twin

from attnflow import AttnFlowError
from attnflow.data.decoding import CorruptImage, decode, size_of
from attnflow.data.depth import READERS
from attnflow.data.transparency import parse_background

ORIENTATION = 0x0112
# What a viewer shows of stored pixels, by the orientation of the EXIF standard.
SHOWN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}
EXACT = {"png": {}, "tif": {}, "webp": {"lossless": True}}


def stored(path: Path, orientation: int, **options: object) -> np.ndarray:
    """Pixels in a file that says how to turn them."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    array = pixels(6, 4, 3)
    write_twin(path, array, exif=exif, **options)
    return array


@pytest.mark.parametrize("suffix", EXACT)
@pytest.mark.parametrize("orientation", SHOWN)
def test_images_are_turned_as_a_viewer_turns_them(tmp_path, suffix, orientation) -> None:
    file = tmp_path / f"0.{suffix}"
    expected = SHOWN[orientation](stored(file, orientation, **EXACT[suffix]))
    np.testing.assert_array_equal(decode(file, 3).permute(1, 2, 0).numpy(), expected)
    assert size_of(file) == expected.shape[:2]


def test_a_photograph_lying_on_its_side_is_put_upright(tmp_path) -> None:
    """Case A1: stored left half white, orientation 6: the top is white."""
    array = np.zeros((16, 16, 3), np.uint8)
    array[:, :8] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    write_twin(tmp_path / "0.jpg", array, exif=exif, quality=95)
    image = decode(tmp_path / "0.jpg", 3)
    assert image[:, :8].float().mean() > 250
    assert image[:, 8:].float().mean() < 5


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_is_none_turns_nothing(tmp_path, orientation) -> None:
    array = stored(tmp_path / "0.png", orientation)
    np.testing.assert_array_equal(decode(tmp_path / "0.png", 3).permute(1, 2, 0), array)


def transparent(path: Path, kind: str) -> None:
    """A file whose every pixel is transparent, with random colours behind."""
    colours, grey = Image.fromarray(pixels(4, 4, 3)), Image.fromarray(pixels(4, 4))
    single = Image.new("RGB", (4, 4), (10, 20, 30))
    palette = colours.quantize(4)
    if kind == "RGBA":
        colours.putalpha(0)
        colours.save(path)
    elif kind == "LA":
        grey.putalpha(0)
        grey.save(path)
    elif kind == "palette, bytes":
        palette.save(path, transparency=bytes(4))
    elif kind == "palette, one":
        single.quantize(1).save(path, transparency=0)
    elif kind == "RGB, one":
        single.save(path, transparency=(10, 20, 30))
    elif kind == "L, one":
        Image.new("L", (4, 4), 20).save(path, transparency=20)


@pytest.mark.parametrize(
    "kind", ["RGBA", "LA", "palette, bytes", "palette, one", "RGB, one", "L, one"]
)
@pytest.mark.parametrize("background", [(255, 255, 255), (7, 7, 7)])
def test_what_is_hidden_is_no_pixel(tmp_path, kind, background) -> None:
    transparent(tmp_path / "0.png", kind)
    image = decode(tmp_path / "0.png", 1 if kind.startswith("L") else 3, background=background)
    assert image.unique().tolist() == [background[0]]


@pytest.mark.parametrize("suffix", ["webp", "tif", "tga", "gif"])
def test_transparency_of_other_formats(tmp_path, suffix) -> None:
    image = Image.fromarray(pixels(4, 4, 3))
    image.putalpha(0)
    image.save(tmp_path / f"0.{suffix}")
    assert decode(tmp_path / f"0.{suffix}", 3).unique().tolist() == [255]


def test_half_transparent_pixels_are_mixed_and_opaque_ones_kept(tmp_path) -> None:
    array = pixels(4, 4, 4)
    array[..., 3] = 255
    array[0, 0] = (100, 100, 100, 128)
    write_twin(tmp_path / "0.png", array)
    image = decode(tmp_path / "0.png", 3, background=(0, 0, 200)).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(image[1:], array[1:, :, :3])
    assert image[0, 0].tolist() == [50, 50, 150]  # 128 / 255 of it, and the rest of blue


@pytest.mark.parametrize(
    ("background", "colour"),
    [("white", (255, 255, 255)), ("#ff8800", (255, 136, 0)), (0, (0, 0, 0)), (128, (128,) * 3)],
)
def test_backgrounds(background, colour) -> None:
    assert parse_background(background) == colour


@pytest.mark.parametrize("background", ["whit", 256, -1, 1.5, True, None, "#ff880040", ""])
def test_a_background_that_is_no_colour_is_named(background) -> None:
    with pytest.raises(AttnFlowError, match=r"^data\.background: expected .*, got ") as raised:
        parse_background(background)
    assert str(raised.value).endswith(f"got {background!r}.")


def write_png(path: Path, bits: int, colour_type: int, rows: bytes, *more: bytes) -> None:
    """A PNG of 4 x 4 pixels that Pillow can't write; ``more`` are a chunk's name and content."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", 4, 4, bits, colour_type, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + (chunk(*more) if more else b"")
    chunks += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def write_png16(path: Path, colour_type: int, channels: int) -> None:
    """A PNG of 16 bits a value."""
    rows = b"".join(b"\0" + pixels(4 * channels * 2).tobytes() for _ in range(4))
    write_png(path, 16, colour_type, rows)


@pytest.mark.parametrize(
    ("bits", "row", "hidden", "shown"),
    [
        (1, b"\x50", 1, [0, 7, 0, 7]),
        (2, b"\x1b", 1, [0, 7, 170, 255]),
        (2, b"\x1b", 3, [0, 85, 170, 7]),
        (4, b"\x01\x3f", 3, [0, 17, 7, 255]),
        (8, b"\x00\x01\x03\xff", 3, [0, 1, 7, 255]),
    ],
)
def test_a_transparent_grey_value_is_one_of_the_file(tmp_path, bits, row, hidden, shown) -> None:
    """Case A2, whatever number of bits a grey value has."""
    write_png(tmp_path / "0.png", bits, 0, (b"\0" + row) * 4, b"tRNS", struct.pack(">H", hidden))
    image = decode(tmp_path / "0.png", 1, background=(7, 7, 7))
    assert image.tolist() == [[shown] * 4]


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_files_are_refused_and_not_cut(tmp_path, colour_type, channels) -> None:
    write_png16(tmp_path / "0.png", colour_type, channels)
    with pytest.raises(
        AttnFlowError, match=r"0\.png: expected 8 bits a grey value or fewer, got 16 "
    ):
        decode(tmp_path / "0.png", 3, convert=True)


def write_deep(path: Path) -> None:
    """A file of more than 8 bits a value."""
    if path.suffix in (".ppm", ".pgm"):
        magic, values = (b"P6", 12) if path.suffix == ".ppm" else (b"P5", 4)
        path.write_bytes(magic + b" 2 2 1023\n" + bytes(2 * values))
    elif path.suffix == ".pfm":
        path.write_bytes(b"Pf\n2 2\n-1.0\n" + bytes(16))
    elif path.suffix == ".sgi":
        Image.fromarray(pixels(4, 4, 3)).save(path, bpc=2)
    elif path.suffix == ".tiff":
        write_twin(path, np.full((4, 4), 0.5, np.float32))
    else:
        write_twin(path, np.full((4, 4), 30_000, np.uint16))


@pytest.mark.parametrize("suffix", ["ppm", "pgm", "pfm", "sgi", "tif", "tiff", "jp2"])
def test_other_deep_files_are_refused(tmp_path, suffix) -> None:
    file = tmp_path / f"0.{suffix}"
    write_deep(file)
    with pytest.raises(AttnFlowError, match="expected 8 bits a grey value or fewer"):
        decode(file, 3, convert=True)


def test_deep_colours_of_jpeg_2000_and_avif_are_read_from_their_headers(tmp_path) -> None:
    write_image(tmp_path / "0.jp2", 8, 8, 3)
    content = bytearray((tmp_path / "0.jp2").read_bytes())
    assert READERS["JPEG2000"](None, bytes(content)) == 8
    content[content.index(b"\xff\x4f\xff\x51") + 45] = 11  # of the second channel
    assert READERS["JPEG2000"](None, bytes(content)) == 12
    for flags, bits in ((0x00, 8), (0x40, 10), (0x60, 12)):
        assert READERS["AVIF"](None, b"....av1C\x81\x20" + bytes([flags, 0])) == bits


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_several_frames_are_refused_and_one_is_read(tmp_path, suffix) -> None:
    frames = [Image.fromarray(pixels(4, 4, 3)) for _ in range(3)]
    frames[0].save(tmp_path / f"3.{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(AttnFlowError, match=rf"3\.{suffix}: expected one image, got 3 frames"):
        decode(tmp_path / f"3.{suffix}", 3)
    frames[0].save(tmp_path / f"1.{suffix}")
    assert decode(tmp_path / f"1.{suffix}", 3).shape == (3, 4, 4)


def test_cmyk_is_converted_only_where_that_is_asked_for(tmp_path) -> None:
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "red.tif")
    with pytest.raises(
        AttnFlowError, match=r"red\.tif: expected .*data\.convert=true .*, got a CMYK one"
    ):
        decode(tmp_path / "red.tif", 3)
    image = decode(tmp_path / "red.tif", 3, convert=True)
    assert image[:, 0, 0].tolist() == [255, 0, 0]
    assert decode(tmp_path / "red.tif", 1, convert=True).unique().tolist() == [76]


def test_colours_of_other_kinds(tmp_path) -> None:
    Image.new("LAB", (4, 4)).save(tmp_path / "lab.tif")
    with pytest.raises(AttnFlowError, match=r"lab\.tif: expected .*, got colours of mode LAB"):
        decode(tmp_path / "lab.tif", 3, convert=True)
    # Compressed, as Pillow 12 does not read its own uncompressed ones.
    red = Image.new("YCbCr", (16, 16), (76, 85, 255))
    red.save(tmp_path / "red.tif", compression="jpeg")
    assert decode(tmp_path / "red.tif", 3)[:, 0, 0].tolist() == [254, 0, 0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"P6 0 2 255\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n",
    ],
    ids=["empty", "text", "no pixels", "a program that draws"],
)
def test_what_is_no_image_is_named(tmp_path, content) -> None:
    (tmp_path / "0.png").write_bytes(content)
    with pytest.raises(CorruptImage, match=r"0\.png: expected a readable image"):
        decode(tmp_path / "0.png", 3)


def test_names_of_any_characters_are_told_on_one_line(tmp_path) -> None:
    for name in ("zwei\nzeilen.png", "\udcff.png", "über.png"):
        (tmp_path / name).write_bytes(b"no image")
        with pytest.raises(CorruptImage) as raised:
            decode(tmp_path / name, 3)
        assert str(raised.value).isprintable()
    assert "über.png" in str(raised.value)


def test_a_file_that_may_not_be_read_is_named(tmp_path) -> None:
    (tmp_path / "folder.png").mkdir()  # what root may not open either
    with pytest.raises(AttnFlowError, match=r"folder\.png: expected .*, got 'Is a directory'"):
        decode(tmp_path / "folder.png", 3)


@pytest.mark.parametrize(
    ("suffix", "shape"), [("ppm", (5, 7, 3)), ("pgm", (5, 7)), ("pbm", (5, 9))]
)
def test_two_images_in_one_netpbm_file_are_refused(tmp_path, suffix, shape) -> None:
    file = tmp_path / f"x.{suffix}"
    image = Image.fromarray(pixels(*shape))
    (image.convert("1") if suffix == "pbm" else image).save(file)
    one = file.read_bytes()
    file.write_bytes(one + b"\n")
    assert decode(file, 3 if suffix == "ppm" else 1).shape[1:] == shape[:2]
    file.write_bytes(one + one)
    with pytest.raises(AttnFlowError, match="expected one image, got several"):
        decode(file, 3)
