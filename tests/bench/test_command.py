"""`python -m vitdemo bench`: which measurements run, with what, and what becomes of their figures."""

import json

import pytest

from vitdemo.bench import BENCHES, _bench
from vitdemo.cli import main


@pytest.fixture
def asked(monkeypatch) -> dict[str, dict]:
    """The options of each measurement that is run; none takes any time."""
    options = {}
    for name in BENCHES:
        monkeypatch.setitem(BENCHES, name, lambda name=name, **given: options.setdefault(name, given) and {"of": name})
    return options


def test_all_are_run_unless_some_are_named(asked, tmp_path):
    assert main(["bench", "--runs", "2", "--minutes", "3", "--clients", "4", "--photos", str(tmp_path), "--json", str(tmp_path / "f")]) == 0
    assert list(asked) == list(BENCHES)
    plain = {"runs": 2, "photos": tmp_path}
    assert {name: given for name, given in asked.items() if name != "load"} == {name: plain for name in BENCHES if name != "load"}
    assert asked["load"] == plain | {"minutes": 3.0, "clients": 4}
    assert json.loads((tmp_path / "f").read_text()) == {name: {"of": name} for name in BENCHES}


def test_those_named_are_run_in_that_order(asked):
    assert main(["bench", "trace", "classify"]) == 0
    assert asked == {name: {"runs": 5, "photos": None} for name in ("trace", "classify")}
    assert list(asked) == ["trace", "classify"]


def test_figures_can_be_written_before_anything_is_measured(asked, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["bench", "trace", "--json", str(tmp_path / "file" / "f.json")]) == 1
    assert "can't be written" in capsys.readouterr().err
    assert asked == {}
    assert main(["bench", "trace", "--json", str(tmp_path / "new" / "f.json")]) == 0
    assert json.loads((tmp_path / "new" / "f.json").read_text()) == {"trace": {"of": "trace"}}


def test_a_bench_that_fails_takes_no_other_figures_with_it(asked, tmp_path, monkeypatch):
    def fail(**_):
        raise RuntimeError

    monkeypatch.setitem(BENCHES, "classify", fail)
    with pytest.raises(RuntimeError):
        main(["bench", "trace", "classify", "--json", str(tmp_path / "f.json")])
    assert json.loads((tmp_path / "f.json").read_text()) == {"trace": {"of": "trace"}}


def test_precisions_go_to_the_benches_that_take_them(asked):
    assert main(["bench", "classify", "layers", "--precision", "fp32", "bf16", "fp32"]) == 0
    assert asked["classify"] == {"runs": 5, "photos": None, "precisions": ("fp32", "bf16")}
    assert asked["layers"] == {"runs": 5, "photos": None}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["layers", "--precision", "bf16"], "--precision is for startup, classify, trace, embed, finetune."),
        (["--runs", "0"], "--runs must be 1 or more."),
        (["speed"], "There is no bench speed: choose from startup, classify,"),
        *(([flag, value], "--minutes must be more than 0 and at most 1440") for flag, value in (("--minutes", "0"), ("--minutes", "1441"))),
        *(([flag, value], "and --clients from 1 to 1000.") for flag, value in (("--clients", "0"), ("--clients", "1001"))),
    ],
)
def test_what_measures_nothing_is_refused(asked, flags, sentence, capsys):
    assert main(["bench", *flags]) == 2
    assert sentence in capsys.readouterr().err
    assert asked == {}


@pytest.mark.parametrize("flags", [["--runs", "1"], ["--minutes", "1440", "--clients", "1000"], ["--minutes", "0.1", "--clients", "1"]])
def test_the_limits_themselves_are_allowed(asked, flags):
    assert main(["bench", "load", *flags]) == 0
    assert list(asked) == ["load"]


def test_a_measurement_is_the_module_of_its_name(monkeypatch):
    from vitdemo.bench import startup

    monkeypatch.setattr(startup, "run", lambda **options: options)
    assert _bench("startup")(runs=3, photos=None) == {"runs": 3, "photos": None}
