"""Labels: ImageNet's names as they are published, a bundle's own, and none for a backbone."""

from vitdemo.core.models.labels import Label, labels_of


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
