"""The model card of a report: what the hub reads of it, and that words of people stay words."""

from huggingface_hub import ModelCard

from vitdemo.finetune.learning import card


def report(**changes) -> dict:
    return {
        "model": "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        "classes": ["cup", "a|b *c*"],
        "counts": {"cup": {"train": 5, "validation": 0, "test": 2}, "a|b *c*": {"train": 4, "validation": 0, "test": 2}},
        "notes": ["1 photo that can’t be read (“x.png”): left out."],
        "recipe": {"unfreeze": "head", "lr": 1e-4, "layer_decay": 0.75},
        "weights_of": {"stage": "head", "epoch": 1},
        "why_these_weights": "Only the head was trained.",
        "head": {"fitted": "exactly", "strength": 3.0},
        "learned_from": 9,
        "asked": "test",
        "accuracy": 0.75,
        "of": 4,
        "interval": (0.3, 0.95),
        "macro_f1": 0.733,
        "baselines": {"5 nearest neighbours": {"accuracy": 0.5}},
        "verdict": "75.0 % accuracy.",
    } | changes


def test_the_hub_reads_its_head(tmp_path):
    card.write(report(), tmp_path)
    found = ModelCard.load(tmp_path / "README.md")
    assert (found.data.license, found.data.library_name, found.data.pipeline_tag) == ("apache-2.0", "timm", "image-classification")
    assert "75.0 % on 4 test photos (95 % confidence interval: 30.0 % to 95.0 %); macro-F1 0.733." in found.text
    assert "| a\\|b \\*c\\* | 6 |" in found.text
    assert "regularisation c = 3 and calibrated probabilities." in found.text
    assert "9 photos were learned from, 4 kept for the test." in found.text


def test_what_the_head_reads_is_said(tmp_path):
    for features, backbone, reads in (
        ("final", "`, unchanged.", "The head reads what the model's own head read."),
        ("both", "`, unchanged.", "The head reads CLS and the mean of the patches."),
        ("9", "` up to block 9, unchanged.", "The head reads CLS after block 9, where the model is cut."),
    ):
        card.write(report(features=features), tmp_path)
        text = (tmp_path / "README.md").read_text("utf-8")
        assert backbone in text
        assert reads in text


def test_other_licences_and_trained_blocks(tmp_path):
    card.write(report(model="mine", weights_of={"stage": "blocks", "epoch": 4}), tmp_path)
    text = (tmp_path / "README.md").read_text("utf-8")
    assert "license" not in text.split("---")[1]
    assert "look it up before you pass it on" in text
    assert "in 4 epochs at a learning rate of 0.0001" in text
