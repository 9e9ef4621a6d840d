"""Labels: ImageNet's names as they are published, a bundle's own, and none for a backbone."""

import json

import pytest

from vitdemo.core.errors import UserError
from vitdemo.core.models.labels import Label, labels_of, named_classes, read_labels


def test_imagenet_1k_known_answers():
    labels = labels_of(1000, {})
    assert [each.index for each in labels] == list(range(1000))
    assert len({each.synset for each in labels}) == 1000
    known = {  # index: the synset and first word of the ILSVRC 2012 list
        0: ("n01440764", "tench"),
        207: ("n02099601", "golden retriever"),
        281: ("n02123045", "tabby"),
        340: ("n02391049", "zebra"),
        482: ("n02979186", "cassette player"),
        817: ("n04285008", "sports car"),
        999: ("n15075141", "toilet tissue"),
    }
    for index, (synset, name) in known.items():
        assert (labels[index].synset, labels[index].name.split(", ")[0]) == (synset, name)
        assert len(labels[index].meaning) > 10
        assert not labels[index].meaning.startswith((labels[index].name, ":", " "))


def test_imagenet_1k_is_in_the_order_of_its_synsets():
    synsets = [each.synset for each in labels_of(1000, {})]
    assert synsets == sorted(synsets)  # how ILSVRC 2012's indices came about


def test_photos_folders_are_synsets(shared):
    known = {each.synset for each in labels_of(1000, {})}
    folders = {each.name for each in (shared / "data" / "imagenet_val").iterdir()}
    assert len(folders) == 20
    assert folders <= known


def test_larger_imagenets():
    small = {each.synset: each.name for each in labels_of(1000, {})}
    for classes in (11821, 21841, 21843):
        labels = labels_of(classes, {})
        assert len(labels) == classes
        assert [each.index for each in labels] == list(range(classes))
        by_synset = {each.synset: each.name for each in labels}
        shared_synsets = small.keys() & by_synset.keys()
        assert len(shared_synsets) > 900
        assert all(by_synset[synset] == small[synset] for synset in shared_synsets)


def test_a_bundles_own_names():
    config = {"label_names": ["cat", "<b>dog</b>", 7], "label_descriptions": {"cat": "it purrs"}}
    assert labels_of(3, config) == (Label(0, "cat", meaning="it purrs"), Label(1, "<b>dog</b>"), Label(2, "7"))
    assert labels_of(2, {"label_names": ["a", "b"], "label_descriptions": None}) == (Label(0, "a"), Label(1, "b"))
    renamed = [f"name {index}" for index in range(1000)]
    assert [each.name for each in labels_of(1000, {"label_names": renamed})] == renamed


def test_names_that_are_not_one_per_class_are_not_used():
    assert labels_of(3, {"label_names": ["cat", "dog"]}) == (Label(0, "class 0"), Label(1, "class 1"), Label(2, "class 2"))
    assert labels_of(1000, {"label_names": ["cat", "dog"]}) == labels_of(1000, {})
    assert labels_of(2, {}) == labels_of(2, {"label_names": None}) == (Label(0, "class 0"), Label(1, "class 1"))


def test_a_feature_backbone_has_none():
    assert labels_of(0, {}) == labels_of(0, {"label_names": []}) == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "cat\n\n a dog \r\n<b>eel</b>"),
        ("names", "\ufeffcat\na dog\n<b>eel</b>\n"),
        ("names.csv", "cat\na dog\n<b>eel</b>\n"),
        ("names.CSV", "n1,cat\nn2,a dog\nn3,<b>eel</b>\n"),
        ("names.csv", 'Label,synset\ncat,n1\n"a dog",n2\n<b>eel</b>,n3'),
        ("names.csv", "index,name\n2,<b>eel</b>\n0,cat\n1,a dog\n"),
        ("names.json", json.dumps(["cat", "a dog", "<b>eel</b>"])),
        ("names.json", json.dumps({"2": "<b>eel</b>", "0": "cat", "1": "a dog"})),
        ("names.json", json.dumps({"<b>eel</b>": 2, "cat": 0, "a dog": 1})),
        ("config.json", json.dumps({"id2label": {"1": "a dog", "0": "cat", "2": "<b>eel</b>"}, "hidden_size": 3})),
        ("config.json", json.dumps({"label_names": ["cat", "a dog", "<b>eel</b>"], "architecture": "x"})),
    ],
)
def test_names_from_a_file(name, text, tmp_path):
    (tmp_path / name).write_text(text, "utf-8", newline="")
    assert read_labels(tmp_path / name, 3) == (Label(0, "cat"), Label(1, "a dog"), Label(2, "<b>eel</b>"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b"{"),
        ("a.json", b"7"),
        ("a.json", b"[" * 99_999),
        ("a.json", b'[["cat"]]'),
        ("a.json", b'{"0": "cat", "2": "dog"}'),
        ("a.json", b'{"x": "cat"}'),
        ("a.json", b'{"0": ["n1", "cat"], "1": ["n2", "dog"]}'),
        ("a.csv", b"index,name\n0,cat\n1\n"),
        ("a.csv", b"index,name\n0,cat\n0,dog\n"),
        ("a.txt", b"\xff\xfe\xfa"),
        ("a.txt", None),
    ],
)
def test_a_file_that_names_nothing(name, content, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as refused:
        read_labels(tmp_path / name, 2)
    assert str(refused.value) == (
        f"The names of classes in {tmp_path / name} can't be read: give a text file with a name a line, JSON or CSV."
    )


def test_one_name_for_each_class(tmp_path):
    (tmp_path / "a.txt").write_text("cat\ndog\n")
    with pytest.raises(UserError, match=r"^a\.txt names 2 classes, and the model has 1,000: give one name for each\.$"):
        read_labels(tmp_path / "a.txt", 1000)
    with pytest.raises(UserError, match="This model gives features, so it has no classes to name: leave --labels out"):
        read_labels(tmp_path / "a.txt", 0)


def test_classes_without_names_are_numbered():
    assert named_classes([], 2) == (Label(0, "class 0"), Label(1, "class 1"))
    assert named_classes([], 1000)[999] == Label(999, "class 999")
    imagenet = labels_of(1000, {})
    assert named_classes([label.name for label in imagenet], 1000) == imagenet  # whoever wrote these names down
