"""What each stage of bulk work takes of a cluster."""

import pytest

from vitdemo.core.bulk.stages import ActorPool, Pipeline, check_stages, stages_for
from vitdemo.core.errors import UsageError, UserError


@pytest.mark.parametrize(
    ("cpus", "gpus", "asked", "decode", "model"),
    [
        (1, 0, "", ActorPool(0), ActorPool(1)),
        (2, 0, "", ActorPool(0), ActorPool(2)),
        (64, 0, "", ActorPool(0), ActorPool(64)),
        (8, 0, "model.cpus=2", ActorPool(0), ActorPool(3, 2)),
        (8, 0, "model.actors=2", ActorPool(0), ActorPool(2)),
        (8, 0, "decode.actors=3,model.actors=2", ActorPool(3), ActorPool(2)),
        (16, 1, "", ActorPool(15), ActorPool(1, gpus=1)),
        (32, 4, "model.gpus=0.5", ActorPool(24), ActorPool(8, gpus=0.5)),
        (16, 1, "decode.actors=0,model.cpus=8", ActorPool(0), ActorPool(1, 8, 1)),
        (16, 1, "model.gpus=0", ActorPool(0), ActorPool(16)),
    ],
)
def test_what_a_cluster_does(cpus, gpus, asked, decode, model):
    stages = stages_for(cpus, gpus, check_stages(asked))
    assert stages == Pipeline(decode, model)
    assert sum(each.actors * each.cpus for each in (stages.decode, stages.model)) < cpus


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("model.actors=3,model.cpus=1", "--stages takes 3 CPUs, and the cluster has 3, one of which stays free: ask for fewer actors."),
        ("model.actors=2,model.gpus=1", "--stages takes 2 GPUs, and the cluster has 0: ask for fewer actors."),
    ],
)
def test_more_than_there_is(asked, sentence):
    with pytest.raises(UserError) as refused:
        stages_for(3, 0, check_stages(asked))
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    "asked", ["model", "actors=1", "model.actors=-1", "model.actors=1.5", "model.cpus=0", "decode.gpus=1", "a.cpus=1", "model.actors=0"]
)
def test_settings_that_are_none(asked):
    with pytest.raises(UsageError, match="--stages has “"):
        check_stages(asked)


def test_in_words():
    assert str(stages_for(2, 0, check_stages(""))) == "model: 2 actors with 0.9 CPUs each, which decode for themselves"
    assert str(stages_for(16, 1, check_stages(""))) == "model: 1 actor with 0.9 CPUs and 1 GPU; decode: 15 actors with 0.9 CPUs each"
