"""Reading pictures as what they are: XML."""

from xml.etree import ElementTree as ET

__all__ = ["SVG", "marbles_in", "texts_in", "tips_in", "tree"]

SVG = "{http://www.w3.org/2000/svg}"


def tree(picture: object) -> ET.Element:
    """The picture's SVG, parsed."""
    root = ET.fromstring(str(picture))  # noqa: S314  it is our own
    assert root.tag == f"{SVG}svg"
    return root


def texts_in(picture: object) -> list[str]:
    """What is written in it, in order."""
    return ["".join(text.itertext()) for text in tree(picture).iter(f"{SVG}text")]


def tips_in(picture: object) -> list[str]:
    """What it tells to who points at its parts."""
    root = tree(picture)
    return [title.text or "" for title in root.iter(f"{SVG}title") if title is not root.find(f"{SVG}title")]


def marbles_in(picture: object, kind: str) -> int:
    """How many marbles of a kind there are."""
    return sum(
        it.get("class") == f"rxllm-{kind}" and it.tag in {f"{SVG}rect", f"{SVG}circle"} for it in tree(picture).iter()
    )
