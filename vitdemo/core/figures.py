"""How numbers are written for people, the same on the page and in a terminal."""


def percent(share: float, decimals: int = 1) -> str:
    """Write a share, 0 … 1, in percent. It is never rounded to zero, nor to all: “< 0.1 %”, “> 99.9 %”."""
    least = 10.0 ** -(decimals + 2)
    if 0 < share < least:
        return f"< {100 * least:.{decimals}f} %"
    if 1 - least < share < 1:
        return f"> {100 - 100 * least:.{decimals}f} %"
    return f"{100 * share:.{decimals}f} %"


def counted(count: int, what: str) -> str:
    """Write how many of something there are: “1 row”, “1,200 rows”."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
