"""The sample pictures: photographs of installed packages and drawings, each from where it lies and with its credit."""

import subprocess
import sys
from pathlib import Path

from vitdemo.core.photos import samples as module
from vitdemo.core.photos.samples import drawings, photographs, samples


def test_photographs_come_first_and_every_sample_has_a_credit():
    names = [sample.name for sample in samples()]
    assert names == [*("cheetah", "lion", "tower", "temple", "flower", "officer"), *("butterfly", "cat", "clock", "sailboat", "umbrella")]
    assert [sample.drawn for sample in samples()] == [False] * 6 + [True] * 5
    assert all(sample.credit for sample in samples())
    assert all("CC BY 2.0" in sample.credit for sample in samples() if "sklearn" in str(sample.path))


def test_what_a_release_lacks_is_left_out(monkeypatch):
    lacking = (("gone", "no_such_package", "a.jpg", ""), ("nowhere", "gradio", "nowhere.jpg", ""), module.PHOTOGRAPHS[0])
    monkeypatch.setattr(module, "PHOTOGRAPHS", lacking)
    assert [sample.name for sample in samples.__wrapped__() if not sample.drawn] == ["cheetah"]


def test_the_packages_are_found_without_an_import():
    packages = {package for _, package, *_ in module.PHOTOGRAPHS}
    check = f"import sys; from vitdemo.core.photos.samples import samples; samples(); print({packages} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_as_galleries():
    assert [item.name for item in photographs()][:2] == ["cheetah.jpg", "lion.jpg"]
    assert {item.folder for item in photographs()} == {""}
    assert (drawings()[0].name, drawings()[0].folder, len(drawings())) == ("aeroplane/019.jpg", "aeroplane", 126)


def test_the_photographs_lie_where_the_packages_own_functions_find_them():
    from importlib.resources import files

    from gradio import media
    from matplotlib.cbook import get_sample_data

    found = {sample.name: sample.path for sample in samples() if not sample.drawn}
    own = {name: media.get_image(f"{name}.jpg") for name in ("cheetah", "lion", "tower")}
    own |= {name: files("sklearn.datasets") / "images" / f"{file}.jpg" for name, file in (("temple", "china"), ("flower", "flower"))}
    own["officer"] = get_sample_data("grace_hopper.jpg", asfileobj=False)
    assert {name: path.resolve() for name, path in found.items()} == {name: Path(str(path)).resolve() for name, path in own.items()}
