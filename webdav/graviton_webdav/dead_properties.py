"""Properties that clients make up, kept as extended attributes, so that a copy takes them along.

One attribute a property: ``user.webdav.{namespace}name`` holds the property's XML element. Where that
name would be longer than an extended attribute's may be, its BLAKE2 stands in for it; the element tells
the name.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple
from xml.etree.ElementTree import Element, tostring

from graviton_webdav.xml_input import parse_xml

PREFIX = b"user.webdav."
_NAME_MAX = 255
VALUE_MAX = 65536
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


class DeadProperty(NamedTuple):
    """``tag`` in Clark notation; ``xml`` the whole element, ready to be put into an answer."""

    tag: str
    xml: str


def attribute_name(tag: str) -> bytes:
    name = tag.encode("utf-8", "surrogatepass")
    if len(PREFIX) + len(name) > _NAME_MAX:
        name = b"#" + hashlib.blake2b(name, digest_size=32).hexdigest().encode()
    return PREFIX + name


def to_value(element: Element, lang: str | None) -> bytes:
    """The attribute's value; ``lang`` is the xml:lang in scope, which belongs to the property."""
    element.tail = None
    if lang is not None and XML_LANG not in element.attrib:
        element.set(XML_LANG, lang)
    value: bytes = tostring(element, encoding="utf-8", xml_declaration=False)
    return value


def from_attributes(attributes: list[tuple[bytes, bytes]]) -> list[DeadProperty]:
    """Those among an inode's attributes; what another program wrote there and is no element is left out."""
    result = []
    for name, value in attributes:
        if not name.startswith(PREFIX):
            continue
        element = parse_xml(value)
        if element is not None and attribute_name(element.tag) == name:
            result.append(DeadProperty(element.tag, tostring(element, encoding="unicode")))
    return result
