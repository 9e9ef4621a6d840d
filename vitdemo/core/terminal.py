"""Words for a terminal: names that can't steer it, and lines that tell how far work has come."""

CLEAR = "\r\x1b[K"  # to the beginning of the terminal's line, and nothing left on it


def printable(text: str) -> str:
    """A path or name that can't steer the terminal it is printed on."""
    return text if text.isprintable() else ascii(text)


def progress_line(done: int, total: int, seconds: float) -> str:
    """How many photos are done after so many seconds, how fast, and how long the others will take."""
    speed = done / seconds if seconds > 0 else 0.0  # photos per second
    left = round((total - done) / speed) if speed else 0
    return f"{done}/{total} photos, {speed:.1f} a second, {left // 60}:{left % 60:02} left "
