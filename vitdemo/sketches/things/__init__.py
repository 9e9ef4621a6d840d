"""How each thing is drawn: one function per class, which takes a pen and random numbers (`dice`) and records the parts, back to front."""

from collections.abc import Callable

from vitdemo.sketches.dice import StableRng
from vitdemo.sketches.pen import Pen
from vitdemo.sketches.things import animals, garden, home, pocket, sky, travel, unseen

THINGS: dict[str, Callable[[Pen, StableRng], None]] = {
    "house": garden.house,
    "tree": garden.tree,
    "flower": garden.flower,
    "mushroom": garden.mushroom,
    "sailboat": travel.sailboat,
    "car": travel.car,
    "aeroplane": travel.aeroplane,
    "bicycle": travel.bicycle,
    "fish": animals.fish,
    "cat": animals.cat,
    "butterfly": animals.butterfly,
    "cup": home.cup,
    "lamp": home.lamp,
    "chair": home.chair,
    "umbrella": pocket.umbrella,
    "key": pocket.key,
    "clock": pocket.clock,
    "star": sky.star,
    "moon": sky.moon,
    "sun": sky.sun,
    "heart": sky.heart,
    "anchor": unseen.anchor,
    "snowman": unseen.snowman,
    "guitar": unseen.guitar,
}
