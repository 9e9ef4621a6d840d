import pytest

from vitdemo.core.figures import counted, percent


@pytest.mark.parametrize(
    ("share", "decimals", "written"),
    [
        (0, 1, "0.0 %"),
        (1, 1, "100.0 %"),
        (0.778, 1, "77.8 %"),
        (1e-5, 1, "< 0.1 %"),
        (0.99999, 1, "> 99.9 %"),
        (0.25, 0, "25 %"),
        (0.004, 0, "< 1 %"),
        (0.996, 0, "> 99 %"),
    ],
)
def test_shares_are_never_rounded_to_none_or_all(share, decimals, written):
    assert percent(share, decimals) == written


@pytest.mark.parametrize(("count", "written"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows")])
def test_one_is_singular(count, written):
    assert counted(count, "row") == written
