"""Grey values of more than 8 bits, brought down to 8.

The file's own words decide what is white: its depth, or a tag that names another. Only where a file can't say it, as with floating-point
and negative numbers, the values' own range decides. A dark photo stays dark.
"""

import contextlib

import numpy as np
from PIL import Image

from vitdemo.core.photos.decoding import png

NOTE = "Grey values of more than 8 bits are brought down to 8."
FEWER_BITS = "Grey values of {bits} bits, as the file names them, are brought down to 8."
RANGE = "The file doesn't say which grey values are black and white: the range from {low:.4g} to {high:.4g} is used."

_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE, _SAMPLE_FORMAT = 258, 262, 281, 339  # tags of TIFF 6.0
_NO_DATA = 42113  # GDAL's
_WHITE_IS_ZERO = 0
_UNSIGNED = 1
_COUNTED = 1_000_000  # values that the range is estimated from


def is_deep(image: Image.Image) -> bool:
    """Whether the image has grey values of more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def to_8_bits(image: Image.Image, data: bytes = b"") -> tuple[Image.Image, str]:
    """Convert 16-bit, 32-bit or floating-point grey to 8 bits.

    Args:
        data: the file, whose tags count too where it is a PNG.

    Returns: the image in mode L, and a note that says what was done.
    """
    values = _values(image)
    if np.isnan(values).all():
        values[:] = 0
    low, high, note = _known_range(image, values, data) or _range_of(values)
    values -= low
    values *= 255 / (high - low)
    grey = np.nan_to_num(values.clip(0, 255, out=values), copy=False).round(out=values).astype(np.uint8)
    if image.format == "TIFF" and _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow turns only values of up to 8 bits round
        grey = 255 - grey
    return Image.fromarray(grey), note


def _values(image: Image.Image) -> np.ndarray:
    """Return the values as (height, width) float32, with NaN for what is no number, infinite, or by a GDAL tag no data."""
    values = np.asarray(image)
    if (
        image.mode == "I"
        and image.format == "TIFF"
        and _tag(image, _BITS_PER_SAMPLE) == 32
        and _tag(image, _SAMPLE_FORMAT) in (None, _UNSIGNED)
    ):
        values = values.view(np.uint32)  # Pillow reads them into signed numbers
    values = values.astype(np.float32)
    if image.mode == "F":
        values[~np.isfinite(values)] = np.nan
    with contextlib.suppress(ValueError):
        if image.format == "TIFF" and (no_data := image.tag_v2.get(_NO_DATA)):  # type: ignore[attr-defined] # the image is a TIFF
            values[values == np.float32(str(no_data).strip("\0 "))] = np.nan
    return values


def _known_range(image: Image.Image, values: np.ndarray, data: bytes) -> tuple[float, float, str] | None:
    """Return black, white and a note where the file or its kind says them; None where nothing does."""
    if image.mode.startswith("I;16") or (image.format == "PPM" and image.mode == "I"):  # Pillow scales a PGM's values up to 16 bits
        bits = _named_bits(image, values, data)
        return 0, 2**bits - 1, NOTE if bits == 16 else FEWER_BITS.format(bits=bits)
    low, high = _percentiles(values)
    if low < 0:
        return None
    if image.mode == "F":
        top = 1 if high <= 1 else 255 if 64 < high <= 255 else None
    else:
        top = 255 if np.nanmax(values) <= 255 else 65535 if high <= 65535 else None
    return (0, top, NOTE) if top else None


def _named_bits(image: Image.Image, values: np.ndarray, data: bytes) -> int:
    """Return the depth of 16-bit samples that the file names, 9 … 16."""
    bits = 16
    if image.format == "TIFF":
        bits = _tag(image, _BITS_PER_SAMPLE) or 16
        largest = _tag(image, _MAX_SAMPLE) or 0
        if bits == 16 and largest & (largest + 1) == 0:  # a whole number of bits: else it is only the picture's brightest value
            bits = largest.bit_length() or 16
    elif image.format == "PNG":
        bits = png.significant_bits(data) or 16
        # Samples should have been scaled up to 16 bits; then the lower bits hold 0, or 1 by rounding
        if 8 < bits < 16 and np.nanmax(values % 2 ** (16 - bits)) <= 1:
            bits = 16
    return bits if 8 < bits < 16 and np.nanmax(values) < 2**bits else 16


def _range_of(values: np.ndarray) -> tuple[float, float, str]:
    """Return the range of the values without the outermost thousandth on either side, and a note that names it."""
    low, high = _percentiles(values)
    if low == high:
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return low, high if high > low else low + 1, RANGE.format(low=low, high=high)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    """Return two of the values: the 0.1th percentile from above and the 99.9th from below, of at most a million values, evenly spread."""
    some = values.reshape(-1)[:: values.size // _COUNTED + 1]
    some = some[~np.isnan(some)]
    some = some if some.size else values[~np.isnan(values)][:_COUNTED]
    return float(np.percentile(some, 0.1, method="higher")), float(np.percentile(some, 99.9, method="lower"))


def _tag(image: Image.Image, number: int) -> int | None:
    """Return a TIFF tag that is a whole number, or the first of several; None where it is missing or something else."""
    value = image.tag_v2.get(number)  # type: ignore[attr-defined] # the image is a TIFF
    if isinstance(value, tuple) and value:
        value = value[0]
    return value if isinstance(value, int) else None
