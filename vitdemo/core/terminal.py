"""Text for a terminal: names that can't control it, and progress lines."""

CLEAR = "\r\x1b[K"  # carriage return, then erase the line


def printable(text: str) -> str:
    """Return a path or name, escaped where it holds unprintable characters, so that it can't control the terminal."""
    return text if text.isprintable() else ascii(text)


def progress_line(done: int, total: int, seconds: float) -> str:
    """Return a progress line: photos done after `seconds`, photos per second, and the estimated time left."""
    speed = done / seconds if seconds > 0 else 0.0  # photos per second
    seconds_left = round((total - done) / speed) if speed else 0
    return f"{done}/{total} photos, {speed:.1f} a second, {seconds_left // 60}:{seconds_left % 60:02} left "
