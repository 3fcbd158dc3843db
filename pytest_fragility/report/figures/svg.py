"""SVG as matplotlib writes it, made fit to stand within a page beside others."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from pytest_fragility.report.figures.colors import VARIABLES

DROPPED = ("metadata", "style")
COLOR = re.compile("|".join(VARIABLES))
NUMBER = re.compile(r"-?\d+\.\d+")
REFERENCE = re.compile(r"url\(#([^)]+)\)")
# of which only the size is kept: text looks like the page's
FONT = re.compile(r"font: [^;]*?([\d.]+px)[^;]*")
FONT_FAMILY = re.compile(r"font-family:[^;]*;? ?")
UNTURNED = "rotate(-0 "


def inline_svg(svg: bytes, name: str, description: str) -> str:
    """Return an SVG element for an HTML page.

    Names of elements become unlike those of other figures, colours variables of the page, numbers
    short; nothing in it refers to anything outside of it.

    Parameters
    ----------
    svg
        A whole file.
    name
        Unlike that of every other figure of the page.
    description
        Read aloud in place of the drawing.
    """
    root = ElementTree.fromstring(svg)
    for parent in root.iter():
        parent.tag = _local(parent.tag)
        for child in list(parent):
            if _local(child.tag) in DROPPED:
                parent.remove(child)
    used = _referenced(root)
    for element in root.iter():
        element.attrib = {
            _local(key): _value(_local(key), value, name)
            for key, value in element.attrib.items()
            if not _is_superfluous(key, value, used)
        }
        element.text = (element.text or "").strip()
        element.tail = ""
    for element in root.iter():
        _share_style(element)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": description,
    }
    return ElementTree.tostring(root, encoding="unicode")


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _is_superfluous(key: str, value: str, used: set[str]) -> bool:
    return (_local(key) == "id" and value not in used) or value.startswith(UNTURNED)


def _share_style(group: ElementTree.Element) -> None:
    """Say once how many equal points look."""
    styles = {point.get("style") for point in group}
    if len(group) > 1 and len(styles) == 1 and {point.tag for point in group} == {"use"}:
        for point in group:
            group.set("style", point.attrib.pop("style"))


def _referenced(root: ElementTree.Element) -> set[str]:
    used = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            used |= set(REFERENCE.findall(value))
            if _local(key) == "href":
                used.add(value.removeprefix("#"))
    return used


def _value(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    value = REFERENCE.sub(rf"url(#{name}-\1)", value)
    value = COLOR.sub(lambda match: VARIABLES[match.group()], value)
    if key in ("clip-path", "class"):
        return value
    if key == "style":
        value = FONT.sub(r"font-size: \1", FONT_FAMILY.sub("", value))
    return NUMBER.sub(_short, " ".join(value.split()))


def _short(match: re.Match[str]) -> str:
    return f"{float(match.group()):.2f}".rstrip("0").rstrip(".")
