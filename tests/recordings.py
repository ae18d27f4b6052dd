"""The recorded streams and rank files beside the project, where they are there."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

__all__ = ["RANKS", "RECIPES", "WIRE", "cases", "load", "needs_wire", "random_pieces"]

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
WIRE = SHARED / "wire"
RECIPES = SHARED / "recipes"
RANKS = SHARED / "tiktoken"

needs_wire = pytest.mark.skipif(not WIRE.is_dir(), reason="the recorded streams are not at ../shared/wire")


def cases(families: Iterable[str], without: Iterable[str] = ()) -> list[Any]:
    """Each recording of these families that says what it should come to, as a parameter named ``family/number``."""
    return [
        pytest.param(expected.parent, id=name)
        for family in families
        for expected in sorted(WIRE.glob(f"{family}/*/expected.json"))
        if (name := f"{family}/{expected.parent.name[:3]}") not in without
    ]


def load(case: Path, name: str) -> dict[str, Any]:
    """One of the case's JSON files."""
    loaded: dict[str, Any] = json.loads((case / name).read_text())
    return loaded


def random_pieces(case: Path, seed: int) -> list[bytes]:
    """The case's body, cut at random."""
    body, pieces, at, chance = (case / "body.bin").read_bytes(), list[bytes](), 0, random.Random(seed)
    while at < len(body):
        size = chance.choice([1, 3, 40, 400, 4000])
        pieces.append(body[at : at + size])
        at += size
    return pieces
