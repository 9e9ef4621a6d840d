"""Which differences count, and how they are put into words."""

import numpy as np
import pytest

from vitdemo.attention.evaluation.table import Comparison

RNG = np.random.default_rng(0)
HARD = RNG.uniform(0.1, 0.5, 40)  # each photo's own share of every area


def over_photos() -> Comparison:
    """40 photos: “good” is better than the centre prior by little and always, “same” is as good as it, “bad” as random."""
    found = Comparison(photos=40)
    for hard in HARD:
        noise = RNG.normal(0, 0.05, 2)
        found.add_random([{"deletion": hard + 0.2, "hit": 0.0}, {"deletion": hard + 0.22, "hit": 1.0}])
        found.add("centre", {"deletion": hard + 0.1, "hit": float(hard > 0.2)})
        found.add("good", {"deletion": hard + 0.09, "hit": 1.0})
        found.add("same", {"deletion": hard + 0.1 + noise[0], "hit": float(hard > 0.2)})
        found.add("bad", {"deletion": hard + 0.3, "hit": 0.0})
    return found


def test_differences_over_photos():
    table = over_photos().table()
    assert (table.photos, table.erased, table.mosaics) == (40, 40, 0)
    signs = {method: (cells["deletion"].chance, cells["deletion"].centre) for method, cells in table.rows.items()}
    assert signs == {"random": (0, -1), "centre": (1, 0), "good": (1, 1), "same": (1, 0), "bad": (-1, -1)}
    assert (table.rows["good"]["hit"].chance, table.rows["same"]["hit"].centre) == (1, 0)
    cell = table.rows["good"]["deletion"]
    assert cell.value == pytest.approx(HARD.mean() + 0.09)
    assert cell.low < cell.value < cell.high
    assert table.rows["random"]["deletion"].value == pytest.approx(HARD.mean() + 0.21)
    assert table.sentences["good"] == (
        "The probability falls sooner than by chance (difference of the areas -0.120 [-0.120, -0.120]); "
        "sooner than centre first (difference of the areas -0.010 [-0.010, -0.010])."
    )
    assert "; no sooner than centre first (" in table.sentences["same"]
    assert table.sentences["bad"].startswith("The probability falls later than by chance (")
    assert set(table.sentences) == {"good", "same", "bad"}


def test_differences_on_one_photo():
    found = Comparison(photos=1)
    found.add_random([{"deletion": value} for value in (0.30, 0.32, 0.40)])
    found.add("centre", {"deletion": 0.2})
    for method, value in (("good", 0.05), ("near", 0.15), ("chance", 0.35), ("bad", 0.6)):
        found.add(method, {"deletion": value})
    table = found.table()
    assert {method: (cells["deletion"].chance, cells["deletion"].centre) for method, cells in table.rows.items() if method != "random"} == {
        "centre": (1, 0),
        "good": (1, 1),
        "near": (1, 0),
        "chance": (0, -1),
        "bad": (-1, -1),
    }
    assert table.rows["good"]["deletion"].low is None
    assert table.sentences["near"] == (
        "The probability falls sooner than by chance (area 0.150; 3 random orders: 0.300 to 0.400); "
        "the difference to centre first (0.200) lies within the spread of the random orders."
    )


def test_what_mosaics_say():
    found = Comparison(mosaics=10)
    for _ in range(40):
        found.add("votes", {"mosaic_mass": RNG.normal(0.5, 0.05)})
        found.add("rollout", {"mosaic_mass": RNG.normal(0.25, 0.05)})
    sentences = found.table().sentences
    assert sentences["votes"].startswith("It tells classes apart: ")
    assert sentences["votes"].endswith(" % of its heat lies on the photo of the class (chance: 25 %).")
    assert sentences["rollout"].startswith("It does not tell classes apart: 2")


def test_values_that_no_photo_has():
    found = Comparison(photos=2)
    for value in (float("nan"), float("nan")):
        found.add("flat", {"saco": value, "mass": 1.0})
    assert list(found.table().rows["flat"]) == ["mass"]
