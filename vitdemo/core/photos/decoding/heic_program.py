"""The process that `heic` starts for one photo. It imports nothing of this project.

Standard input: the file's length (8 bytes), the file, and, once its size is accepted, one byte more. Standard output: a line of JSON with
the size in the header; then, after that byte, a line with mode, size and the profile's length, the profile, and the pixels.
"""

import contextlib
import io
import json
import sys

import pi_heif
from PIL import Image

LEAST_MEMORY, MEMORY_EACH = 1_000_000_000, 40  # bytes of addresses that the process may take, and as many more for each pixel


def main() -> None:
    """Answer for one file, or end without an answer."""
    pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    Image.MAX_IMAGE_PIXELS = None  # who has started this process checks the size
    source = sys.stdin.buffer
    data = source.read(int.from_bytes(source.read(8)))
    limit_memory(LEAST_MEMORY)
    with Image.open(io.BytesIO(data), formats=("HEIF",)) as image:
        say({"width": image.width, "height": image.height, "several": getattr(image, "is_animated", False)})
        if not source.read(1):
            return
        limit_memory(LEAST_MEMORY + MEMORY_EACH * image.width * image.height)
        image.load()
        profile = image.info.get("icc_profile") or b""
        say({"mode": image.mode, "width": image.width, "height": image.height, "profile": len(profile)})
        sys.stdout.buffer.write(profile + image.tobytes())


def limit_memory(most: int) -> None:
    """Bound the process's memory, where the system can."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def say(answer: dict) -> None:
    """Write one line of JSON."""
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
