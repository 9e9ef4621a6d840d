"""Opening photos: every kind comes out upright, RGB and 8-bit, and every bad file is answered in one sentence."""

import hashlib
import io
import os
import re
import subprocess
import sys
import threading
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.apps import ROOT
from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.names import shown_name
from vitdemo.core.photos.photo import Photo, open_photo

WHITE = "Transparent parts are shown on white."
FRAMES = "This file has several frames or pages: the first one is used."
DEEP = "Grey values of more than 8 bits are brought down to 8."


def opened(image: Image.Image, path: Path, settings: Settings, **options) -> Photo:
    """Save as a file, then open it with the project's own hands."""
    image.save(path, **options)
    photo = open_photo(path, settings)
    assert photo.image.mode == "RGB"
    return photo


def colours(photo: Photo) -> np.ndarray:
    return np.asarray(photo.image).astype(int)


def refusal(path: str | Path, settings: Settings, name: str | None = None) -> str:
    """The one sentence with which a file is refused."""
    with pytest.raises(UserError) as refused:
        open_photo(path, settings, name=name)
    sentence = str(refused.value)
    assert sentence.startswith("“")
    assert sentence.isprintable()  # one line, nothing that steers a terminal
    assert sentence.endswith(".")
    assert ". " not in sentence
    assert len(sentence) < 250
    return sentence


# What the file's picture must become, by EXIF 2.32's table of orientations: where row 0 and column 0 of the stored picture lie.
UPRIGHT = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),  # the stored left side is the top: turn clockwise
    7: lambda stored: np.rot90(stored, 2).transpose(1, 0, 2),
    8: lambda stored: np.rot90(stored, 1),
}


def test_exif_orientation(tmp_path, settings, subtests):
    for orientation in UPRIGHT:
        for suffix in ["png", "tiff", "webp", "jpg"]:
            with subtests.test(orientation=orientation, suffix=suffix):
                stored = np.zeros((16, 40, 3), np.uint8)  # asymmetric in both directions, in blocks that JPEG keeps
                stored[:8, :8], stored[:8, 8:16], stored[8:, :8] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
                exif = Image.Exif()
                exif[0x0112] = orientation
                options = {"lossless": True} if suffix == "webp" else {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
                photo = opened(Image.fromarray(stored), tmp_path / f"a.{suffix}", settings, exif=exif, **options)
                expected = UPRIGHT[orientation](stored).astype(int)
                assert colours(photo).shape == expected.shape
                assert np.abs(colours(photo) - expected).max() <= (4 if suffix == "jpg" else 0)
                assert photo.notes == ()


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    "exif", [b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12", b"Exif\x00\x00garbage", b"Exif\x00\x00" + bytes(30)]
)
def test_broken_exif_is_no_reason_to_refuse(tmp_path, settings, exif):
    photo = opened(Image.new("RGB", (24, 16), (200, 10, 10)), tmp_path / "a.jpg", settings, exif=exif)
    assert photo.image.size == (24, 16)


def test_orientation_that_is_none_leaves_the_picture(tmp_path, settings):
    exif = Image.Exif()
    exif[0x0112] = 9
    photo = opened(noise(9, 5), tmp_path / "a.png", settings, exif=exif)
    assert np.array_equal(colours(photo), np.asarray(noise(9, 5)))


def test_rgba_on_white(tmp_path, settings):
    values = np.random.default_rng(0).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    values[0, 0], values[0, 1] = (1, 2, 3, 0), (1, 2, 3, 255)
    photo = opened(Image.fromarray(values), tmp_path / "a.png", settings)
    alpha = values[..., 3:] / 255
    assert np.abs(colours(photo) - (values[..., :3] * alpha + 255 * (1 - alpha))).max() <= 1
    assert colours(photo)[0, :2].tolist() == [[255, 255, 255], [1, 2, 3]]
    assert photo.notes == (WHITE,)


def test_grey_and_alpha_on_white(tmp_path, settings):
    values = np.random.default_rng(1).integers(0, 256, (16, 16, 2), dtype=np.uint8)
    photo = opened(Image.fromarray(values, "LA"), tmp_path / "a.png", settings)
    alpha = values[..., 1:] / 255
    assert np.abs(colours(photo) - (values[..., :1] * alpha + 255 * (1 - alpha))).max() <= 1
    assert photo.notes == (WHITE,)


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_palette_with_a_transparent_colour(tmp_path, settings, suffix):
    image = Image.fromarray(np.array([[0, 1, 2, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 200])
    photo = opened(image, tmp_path / f"a.{suffix}", settings, transparency=1)
    assert colours(photo)[0].tolist() == [[10, 20, 30], [255, 255, 255], [0, 0, 200], [255, 255, 255]]
    assert photo.notes == (WHITE,)


def test_palette_with_half_transparent_colours(tmp_path, settings):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([0, 0, 0, 200, 0, 0, 0, 0, 200])
    photo = opened(image, tmp_path / "a.png", settings, transparency=bytes([255, 51, 0]))
    assert np.abs(colours(photo)[0] - [[0, 0, 0], [244, 204, 204], [255, 255, 255]]).max() <= 1  # 51/255 is a fifth


def test_rgb_with_a_transparent_colour(tmp_path, settings):
    image = Image.fromarray(np.array([[[9, 8, 7], [1, 2, 3], [9, 8, 6]]], np.uint8))
    photo = opened(image, tmp_path / "a.png", settings, transparency=(9, 8, 7))
    assert colours(photo)[0].tolist() == [[255, 255, 255], [1, 2, 3], [9, 8, 6]]
    assert photo.notes == (WHITE,)


def test_grey_with_a_transparent_value(tmp_path, settings):
    image = Image.fromarray(np.array([[9, 100, 0]], np.uint8))
    assert colours(opened(image, tmp_path / "a.png", settings, transparency=9))[0, :, 0].tolist() == [255, 100, 0]


def grey(values: np.ndarray, photo: Photo) -> np.ndarray:
    """The photo's grey values, all three channels being the same."""
    shown = colours(photo)
    assert shown.shape == (*values.shape, 3)
    assert (shown == shown[..., :1]).all()
    assert photo.notes == (DEEP,)
    return shown[..., 0]


RAMP16 = np.linspace(0, 65535, 512).round().astype(np.uint16).reshape(16, 32)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
@pytest.mark.parametrize("top", [65535, 4095, 200])
def test_16_bit_grey(tmp_path, settings, suffix, top):
    """A dark picture stays dark: the scale is the format's, not the picture's."""
    values = (RAMP16 * (top / 65535)).astype(np.uint16)
    photo = opened(Image.fromarray(values), tmp_path / f"a.{suffix}", settings)
    assert np.abs(grey(values, photo) - values / 257).max() <= 0.5


def test_16_bit_big_endian_grey(tmp_path, settings):
    image = Image.frombytes("I;16B", (32, 16), RAMP16.astype(">u2").tobytes())
    assert np.abs(grey(RAMP16, opened(image, tmp_path / "a.tiff", settings)) - RAMP16 / 257).max() <= 0.5


@pytest.mark.parametrize(("top", "scale"), [(255, 1), (65535, 1 / 257), (4000, 1 / 257)])
def test_32_bit_grey(tmp_path, settings, top, scale):
    values = np.linspace(0, top, 512).astype(np.int32).reshape(16, 32)
    photo = opened(Image.fromarray(values), tmp_path / "a.tiff", settings)
    assert np.abs(grey(values, photo) - values * scale).max() <= 0.5


@pytest.mark.parametrize(("top", "scale"), [(1, 255), (0.5, 255), (255, 1)])
def test_floating_point_grey(tmp_path, settings, top, scale):
    values = np.linspace(0, top, 512).astype(np.float32).reshape(16, 32)
    photo = opened(Image.fromarray(values), tmp_path / "a.tiff", settings)
    assert np.abs(grey(values, photo) - values * scale).max() <= 0.501


def test_floating_point_grey_that_is_not_all_numbers(tmp_path, settings):
    values = np.array([[np.nan, np.inf, -np.inf, -3, 0.2, 1]], np.float32)
    assert grey(values, opened(Image.fromarray(values), tmp_path / "a.tiff", settings)).tolist() == [[0, 0, 0, 0, 51, 255]]


@pytest.mark.parametrize("profile", [None, b"no profile at all"])
def test_cmyk(tmp_path, settings, profile):
    values = np.random.default_rng(2).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    photo = opened(Image.fromarray(values, "CMYK"), tmp_path / "a.tiff", settings, icc_profile=profile)
    cyan_magenta_yellow, black = values[..., :3].astype(int), values[..., 3:].astype(int)
    assert np.abs(colours(photo) - (255 - cyan_magenta_yellow) * (255 - black) / 255).max() <= 1.5


def test_cmyk_jpeg_is_not_inverted(tmp_path, settings):
    photo = opened(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), tmp_path / "a.jpg", settings)
    assert np.abs(colours(photo)[0, 0] - (255, 0, 0)).max() <= 4


def test_grey_and_one_bit_and_palette(tmp_path, settings):
    values = np.random.default_rng(3).integers(0, 256, (8, 9), dtype=np.uint8)
    assert np.array_equal(colours(opened(Image.fromarray(values), tmp_path / "a.png", settings)), np.stack([values] * 3, -1))
    bits = values > 127
    assert np.array_equal(colours(opened(Image.fromarray(bits), tmp_path / "b.png", settings)), np.stack([bits * 255] * 3, -1))
    palette = noise(8, 9).quantize(16)
    assert np.array_equal(colours(opened(palette, tmp_path / "c.png", settings)), np.asarray(palette.convert("RGB")))


LOSSLESS = {"png": {}, "webp": {"lossless": True}, "bmp": {}, "tif": {}, "ppm": {}, "jp2": {"irreversible": False}}
LOSSY = {"jpg": {"quality": 95}, "avif": {"quality": 90}, "mpo": {"quality": 95}, "gif": {}}


@pytest.mark.parametrize("suffix", LOSSLESS | LOSSY)
def test_every_format(tmp_path, settings, suffix):
    image = noise(6, 4).resize((60, 40), Image.Resampling.BICUBIC)
    photo = opened(image, tmp_path / f"a.{suffix}", settings, **(LOSSLESS | LOSSY)[suffix])
    apart = np.abs(colours(photo) - np.asarray(image))
    assert apart.max() == 0 if suffix in LOSSLESS else apart.mean() < 8
    assert photo.notes == ()
    (tmp_path / "wrong.txt").write_bytes((tmp_path / f"a.{suffix}").read_bytes())  # what counts is the content
    assert np.array_equal(colours(open_photo(tmp_path / "wrong.txt", settings)), colours(photo))


@pytest.mark.parametrize("suffix", ["gif", "tiff", "png", "webp"])
def test_first_frame(tmp_path, settings, suffix):
    first, second = Image.new("RGB", (12, 8), (255, 0, 0)), Image.new("RGB", (12, 8), (0, 0, 255))
    options = {"lossless": True} if suffix == "webp" else {}
    photo = opened(first, tmp_path / f"a.{suffix}", settings, save_all=True, append_images=[second, first], **options)
    assert np.unique(colours(photo).reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]
    assert photo.notes == (FRAMES,)


def test_a_phones_second_picture_is_not_worth_a_note(tmp_path, settings):
    first, second = Image.new("RGB", (16, 16), (255, 0, 0)), Image.new("RGB", (16, 16), (0, 0, 255))
    photo = opened(first, tmp_path / "a.jpg", settings, format="MPO", save_all=True, append_images=[second])
    assert colours(photo)[0, 0, 0] > 240
    assert photo.notes == ()


def test_id_is_the_files_sha256(tmp_path, settings):
    photo = opened(noise(5, 4), tmp_path / "a.png", settings)
    assert photo.id == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert photo.name == "a.png"
    assert open_photo(str(tmp_path / "a.png"), settings, name="b.png").name == "b.png"


# Bad files


def encoded(suffix: str, **options) -> bytes:
    file = io.BytesIO()
    noise(64, 48).save(file, suffix, **options)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.png", encoded("png"))
    return file.getvalue()


NOT_A_PHOTO = "is not a photo that can be read here: give a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC file."
HEIC = "is a HEIC photo that is damaged, or of a kind that can't be read here: save it as JPEG."
SVG = "is an SVG drawing, not a photo: save it as PNG."
CUT_OFF = "is cut off and can't be decoded: copy or download it again."
BAD = {
    "empty": (b"", "is empty (0 bytes): copy or download it again."),
    "text": (b"just some text", NOT_A_PHOTO),
    "html": (b"<!DOCTYPE html><html><body>404</body></html>", NOT_A_PHOTO),
    "zeros": (bytes(1000), NOT_A_PHOTO),
    "one byte": (b"\xff", NOT_A_PHOTO),
    "jpeg cut off": (encoded("jpeg")[:-400], CUT_OFF),
    "jpeg cut off early": (encoded("jpeg")[:300], None),
    "png cut off": (encoded("png")[:-400], CUT_OFF),
    "png header alone": (encoded("png")[:33], None),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>', SVG),
    "svg with xml header": (b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', SVG),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "is a PDF, not a photo: save the page as PNG."),
    "zip": (zipped(), "is a zip archive, not a photo: unpack it and give one of its photos."),
    "heic": (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100), HEIC),
    "heic by its other brand": (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic" + bytes(100), HEIC),
    "pickle": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00", NOT_A_PHOTO),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", NOT_A_PHOTO),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_file(tmp_path, settings, kind):
    data, sentence = BAD[kind]
    (tmp_path / "photo.jpg").write_bytes(data)
    said = refusal(tmp_path / "photo.jpg", settings)
    assert said.startswith("“photo.jpg” ")
    if sentence:
        assert said == f"“photo.jpg” {sentence}"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", ["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif", "jpeg2000", "ppm"])
def test_damaged_in_any_way(tmp_path, settings, suffix):
    """Bytes changed, cut out or cut off, 60 times: it opens, or it is refused in a sentence."""
    good, draw = np.frombuffer(encoded(suffix), np.uint8), np.random.default_rng(0)
    path, refused = tmp_path / "photo.jpg", 0
    for _ in range(60):
        data, head = good.copy(), min(len(good), draw.choice([40, 400, 10**6]))
        data[draw.integers(0, head, 1 + head // 60)] = draw.integers(0, 256, 1 + head // 60)
        path.write_bytes(data[: draw.integers(8, len(data) + 1)].tobytes() if draw.random() < 0.3 else data.tobytes())
        try:
            open_photo(path, settings)
        except UserError:
            refused += 1
            refusal(path, settings)
    assert refused


def png_of_zeros(path: Path, width: int, height: int, bits: int) -> None:
    """A greyscale PNG, black all over, written piece by piece."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    packer, rows = zlib.compressobj(1), bytes(100 * (1 + width * bits // 8))
    packed = b"".join(packer.compress(rows) for _ in range(height // 100)) + packer.flush()
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([bits, 0, 0, 0, 0])
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))


OPEN_AND_MEASURE = """
import resource, sys
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.photos.photo import open_photo
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(open_photo(sys.argv[1], Settings()).image.size)
except UserError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)  # kB
"""


def measured(path: Path) -> tuple[str, int]:
    """What a fresh process says of the file, and how many kB it took."""
    run = subprocess.run([sys.executable, "-c", OPEN_AND_MEASURE, path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    said, grown = run.stdout.splitlines()
    return said, int(grown)


@pytest.mark.parametrize(
    ("side", "bits", "sentence"),
    [
        (13_000, 8, "“bomb.png” has 169 megapixels, and the limit is 64: save a smaller copy of it."),
        # here Pillow's own limit comes first
        (30_000, 1, "“bomb.png” has too many pixels, and the limit is 64 megapixels: save a smaller copy of it."),
    ],
)
def test_bomb_is_refused_before_it_is_unpacked(tmp_path, side, bits, sentence):
    png_of_zeros(tmp_path / "bomb.png", side, side, bits)
    assert (tmp_path / "bomb.png").stat().st_size < 1_000_000
    said, grown = measured(tmp_path / "bomb.png")
    assert said == sentence
    assert grown < 150_000


def test_an_endless_file_is_not_read_to_its_end(tmp_path):
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(1_000_000_000)  # sparse: it takes no room on the disk
    said, grown = measured(tmp_path / "huge.png")
    assert said == "“huge.png” is larger than 50 MB: save a smaller copy of it."
    assert grown < 150_000


def test_pixels_up_to_the_limit_are_taken(tmp_path):
    settings = Settings(max_megapixels=1)
    assert opened(Image.new("L", (1000, 1000)), tmp_path / "a.png", settings).image.size == (1000, 1000)
    Image.new("L", (1001, 1000)).save(tmp_path / "b.png")
    said = re.fullmatch(
        r"“b.png” has (.+) megapixels, and the limit is 1: save a smaller copy of it\.", refusal(tmp_path / "b.png", settings)
    )
    assert float(said[1]) > 1, "a number that does not exceed the limit explains nothing"


def test_bytes_up_to_the_limit_are_taken(tmp_path):
    settings, data = Settings(max_upload_mb=1), encoded("png")
    (tmp_path / "a.png").write_bytes(data + bytes(settings.max_upload_bytes - len(data)))
    assert open_photo(tmp_path / "a.png", settings).image.size == (64, 48)
    (tmp_path / "a.png").write_bytes(data + bytes(settings.max_upload_bytes + 1 - len(data)))
    assert refusal(tmp_path / "a.png", settings) == "“a.png” is larger than 1 MB: save a smaller copy of it."


def test_what_is_not_a_file(tmp_path, settings):
    assert refusal(tmp_path, settings, "a.jpg") == "“a.jpg” is a folder: give a photo."
    assert refusal(tmp_path / "gone.jpg", settings) == "“gone.jpg” is not there: check its name, or add it again."
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    assert refusal(tmp_path / "link.jpg", settings) == "“link.jpg” is not there: check its name, or add it again."
    (tmp_path / "file").write_bytes(b"")
    assert refusal(tmp_path / "file" / "a.jpg", settings).startswith("“a.jpg” ")
    assert refusal("/dev/zero", settings) == "“zero” is not a file: give a photo."


def test_a_pipe_is_not_waited_for(tmp_path, settings):
    os.mkfifo(tmp_path / "pipe.jpg")
    said = []
    opening = threading.Thread(target=lambda: said.append(refusal(tmp_path / "pipe.jpg", settings)), daemon=True)
    opening.start()
    opening.join(20)
    assert said == ["“pipe.jpg” is not a file: give a photo."]


# Names

NAMES = {
    "two\nlines.jpg": "two�lines.jpg",
    "re\rturn\ttab.jpg": "re�turn�tab.jpg",
    "escape\x1b[31m.jpg": "escape�[31m.jpg",
    "“quotes” '\".jpg": "“quotes” '\".jpg",
    "<script>alert(1)<\\script>.jpg": "<script>alert(1)<\\script>.jpg",  # whoever makes HTML escapes it
    "photo\u202egpj.exe": "photo�gpj.exe",
    "no\u200bwidth\ufeff.jpg": "no�width�.jpg",
    "line\u2028and\u2029paragraph.jpg": "line�and�paragraph.jpg",
    "next\x85line.jpg": "next�line.jpg",
    "Ärger 写真 🐈.jpg": "Ärger 写真 🐈.jpg",
    "  ": "unnamed",
}


@pytest.mark.parametrize("name", NAMES)
def test_name_on_disk_is_shown_on_one_line(tmp_path, settings, name):
    (tmp_path / name).write_bytes(b"no photo")
    assert refusal(tmp_path / name, settings) == f"“{NAMES[name]}” {NOT_A_PHOTO}"
    assert refusal(tmp_path / "gone.jpg", settings, name).startswith(f"“{NAMES[name]}” ")
    noise(4, 4).save(tmp_path / name, "png")
    assert open_photo(tmp_path / name, settings).name == NAMES[name]


def test_long_name(tmp_path, settings):
    name = "a" * 150 + "b" * 146 + ".jpg"  # longer than a file system takes
    shown = "a" * 39 + "…" + "b" * 16 + ".jpg"
    assert shown_name(name) == shown
    assert len(shown) == 60
    assert refusal(tmp_path / name, settings).startswith(f"“{shown}” can't be read (File name too long): ")
    noise(4, 4).save(tmp_path / "a.png")
    assert open_photo(tmp_path / "a.png", settings, name=name).name == shown
    assert shown_name("c" * 60) == "c" * 60


def test_names_that_are_no_text(tmp_path, settings):
    raw = os.fsdecode(b"caf\xe9.png")  # Latin-1 on a UTF-8 system
    noise(4, 4).save(tmp_path / raw)
    assert open_photo(tmp_path / raw, settings).name == "caf?.png"
    assert refusal(tmp_path / "nul\0.jpg", settings).startswith("“nul�.jpg” ")


def test_a_dark_sixteen_bit_pgm_stays_dark(tmp_path):
    values = np.full((4, 6), 200, dtype=">u2")  # of 65535
    (tmp_path / "dark.pgm").write_bytes(b"P5 6 4 65535\n" + values.tobytes())
    assert np.asarray(open_photo(tmp_path / "dark.pgm", Settings()).image).max() == 1
