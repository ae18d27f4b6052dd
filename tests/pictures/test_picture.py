"""A picture: what notebooks show, and what is saved."""

from pathlib import Path

import pytest

from rxllm._pictures import Picture, drawing_picture

DRAWING = 'chunks  --"Hel"--"lo"--|\n        text_deltas()\ntexts   --"Hel"--"lo"--|'


def test_saved_svg_is_its_text(tmp_path: Path) -> None:
    """The file holds what ``str()`` gives, whatever characters there are."""
    picture = Picture("<svg>é 🌊</svg>", "a wave")
    picture.save(tmp_path / "a.svg")
    picture.save(str(tmp_path / "b.SVG"))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.SVG").read_bytes() == str(picture).encode()


def test_other_format_comes_from_what_makes_it(tmp_path: Path) -> None:
    """It is made when it is saved."""
    picture = Picture("<svg/>", "a wave", {".png": lambda: b"\x89PNG"})
    picture.save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"\x89PNG"


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a"])
def test_format_that_it_has_not_is_refused(name: str, tmp_path: Path) -> None:
    """The error says which there are, and no file is made."""
    with pytest.raises(ValueError, match=r"\.svg"):
        drawing_picture(DRAWING).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_notebook_gets_both_forms() -> None:
    """The SVG, and one short line for where none can be shown."""
    picture = drawing_picture(DRAWING)
    bundle = picture._repr_mimebundle_(include=None, exclude=None)  # pyright: ignore[reportPrivateUsage]
    assert bundle == {"image/svg+xml": str(picture), "text/plain": "<Picture: text_deltas()>"}
