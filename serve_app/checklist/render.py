"""The items for machines: JSON, and JUnit XML for a CI's test report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from serve_app.checklist.item import STATUSES, Item


def as_json(items: Sequence[Item], profile: str) -> dict[str, Any]:
    """`{"profile", "counts", "items"}`."""
    counts = {status: sum(item.status == status for item in items) for status in STATUSES}
    return {"profile": profile, "counts": counts, "items": [asdict(item) for item in items]}


def as_junit(items: Sequence[Item]) -> str:
    """A test case for each item: a failure fails, what is not applicable is skipped, a warning is its output."""
    suite = ElementTree.Element("testsuite", name="headrace check", tests=str(len(items)))
    suite.set("failures", str(sum(item.status == "fail" for item in items)))
    suite.set("skipped", str(sum(item.status == "not_applicable" for item in items)))
    for item in items:
        case = ElementTree.SubElement(suite, "testcase", classname=item.area, name=item.id)
        said = " ".join(part for part in (item.evidence, item.fix) if part)
        if item.status == "fail":
            ElementTree.SubElement(case, "failure", message=item.title).text = said
        elif item.status == "not_applicable":
            ElementTree.SubElement(case, "skipped", message=item.evidence)
        else:
            ElementTree.SubElement(case, "system-out").text = f"{item.status}: {said}"
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
