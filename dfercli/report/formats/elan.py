"""ELAN's annotation format (EAF 3.0, https://www.mpi.nl/tools/elan/EAFv3.0.xsd)."""

import mimetypes
from datetime import datetime
from xml.etree import ElementTree

from dfercli.report.formats.tiers import TieredVideo

XSI = "http://www.w3.org/2001/XMLSchema-instance"
SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
KIND = "expression"


def elan_eaf(video: TieredVideo) -> str:
    """A tier of time-aligned annotations per person."""
    ElementTree.register_namespace("xsi", XSI)
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": f"dfer, {video.model}",
            "DATE": datetime.now().astimezone().isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            f"{{{XSI}}}noNamespaceSchemaLocation": SCHEMA,
        },
    )
    header = _below(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    kind, _ = mimetypes.guess_type(video.media.name)
    _below(header, "MEDIA_DESCRIPTOR", MEDIA_URL=video.media.as_uri(), MIME_TYPE=kind or "video/*")
    order = _below(root, "TIME_ORDER")
    number = 0
    for tier in video.tiers:
        lane = _below(
            root, "TIER", LINGUISTIC_TYPE_REF=KIND, PARTICIPANT=tier.name, TIER_ID=tier.name
        )
        for mark in tier.marks:
            number += 1
            slots = {}
            for edge, seconds in ((1, mark.start_seconds), (2, mark.end_seconds)):
                slot = f"ts{2 * number - 2 + edge}"
                time = str(max(round(1000 * seconds), 0))
                _below(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=time)
                slots[f"TIME_SLOT_REF{edge}"] = slot
            aligned = _below(
                _below(lane, "ANNOTATION"),
                "ALIGNABLE_ANNOTATION",
                ANNOTATION_ID=f"a{number}",
                **slots,
            )
            _below(aligned, "ANNOTATION_VALUE").text = mark.text
    _below(header, "PROPERTY", NAME="lastUsedAnnotationId").text = str(number)
    _below(
        root,
        "LINGUISTIC_TYPE",
        GRAPHIC_REFERENCES="false",
        LINGUISTIC_TYPE_ID=KIND,
        TIME_ALIGNABLE="true",
    )
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _below(parent: ElementTree.Element, tag: str, **values: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, values)
