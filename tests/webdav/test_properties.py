"""PROPFIND and PROPPATCH."""

from __future__ import annotations

import re
from email.utils import formatdate, parsedate_to_datetime

import pytest

from graviton_webdav.propfind import INFINITE_MAX
from gravitonfs.content.volume import Volume
from gravitonfs.ports.ops import Create, SetXattr
from harness.dav import DAV, Answer, Client

S_IFREG = 0o100644


def patch(dav: Client, path: str, inner: str) -> Answer:
    body = f'<D:propertyupdate xmlns:D="DAV:">{inner}</D:propertyupdate>'
    return dav("PROPPATCH", path, body.encode())


def put(name: str, value: str) -> str:
    return f"<D:set><D:prop><{name}>{value}</{name.split(' ', maxsplit=1)[0]}></D:prop></D:set>"


def statuses(answer: Answer) -> dict[str, int]:
    """Status by property."""
    result = {}
    for propstat in answer.xml.iter(f"{DAV}propstat"):
        status = int((propstat.findtext(f"{DAV}status") or "").split()[1])
        for prop in propstat.findall(f"{DAV}prop/*"):
            result[prop.tag] = status
    return result


def test_live_properties(dav: Client, home: str) -> None:
    put_answer = dav("PUT", f"{home}report.pdf", b"12345")
    answer = dav.propfind(f"{home}report.pdf")
    path = f"{home}report.pdf"
    assert answer.text(path, f"{DAV}getcontentlength") == "5"
    assert answer.text(path, f"{DAV}getcontenttype") == "application/pdf"
    assert answer.text(path, f"{DAV}displayname") == "report.pdf"
    assert answer.text(path, f"{DAV}getetag") == put_answer.etag
    assert parsedate_to_datetime(answer.text(path, f"{DAV}getlastmodified") or "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer.text(path, f"{DAV}creationdate") or "")
    kind = answer.found(path, f"{DAV}resourcetype")
    assert kind is not None
    assert len(kind) == 0
    collection = dav.propfind(home)
    kind = collection.found(home, f"{DAV}resourcetype")
    assert kind is not None
    assert kind[0].tag == f"{DAV}collection"
    assert collection.found(home, f"{DAV}getcontentlength") is None
    scopes = collection.xml.findall(f".//{DAV}supportedlock/{DAV}lockentry/{DAV}lockscope/*")
    assert [scope.tag for scope in scopes] == [f"{DAV}exclusive", f"{DAV}shared"]


def test_named_properties_are_told_missing(dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"x")
    answer = dav.propfind(f"{home}f", f"{DAV}getcontentlength", "{urn:x}none", "plain", f"{DAV}nothing")
    assert statuses(answer) == {
        f"{DAV}getcontentlength": 200,
        "{urn:x}none": 404,
        "plain": 404,
        f"{DAV}nothing": 404,
    }


def test_names_alone(dav: Client, home: str) -> None:
    patch(dav, home, put('x:a xmlns:x="urn:x"', "1"))
    answer = dav("PROPFIND", home, b'<propfind xmlns="DAV:"><propname/></propfind>', Depth="0")
    found = statuses(answer)
    assert found["{urn:x}a"] == 200
    assert found[f"{DAV}resourcetype"] == 200
    assert answer.text(home, "{urn:x}a") == ""
    assert answer.text(home, f"{DAV}displayname") == ""


def test_allprop_can_include_more(dav: Client, home: str) -> None:
    body = b'<D:propfind xmlns:D="DAV:"><D:allprop/><D:include><D:quota-used-bytes/></D:include></D:propfind>'
    assert int(dav("PROPFIND", home, body, Depth="0").text(home, f"{DAV}quota-used-bytes") or "") >= 0
    assert dav.propfind(home).found(home, f"{DAV}quota-used-bytes") is None


@pytest.mark.parametrize(
    "body",
    [
        b"<propfind",
        b"<propfind xmlns='DAV:'><prop xmlns:bar=''><bar:foo/></prop></propfind>",
        b"<x/>",
        b'<propfind xmlns="DAV:"/>',
        b'<propfind xmlns="DAV:"><allprop/><propname/></propfind>',
        b"<a>" * 5000 + b"</a>" * 5000,
        b'<!DOCTYPE x [<!ENTITY e "boom">]><propfind xmlns="DAV:"><allprop/></propfind>',
    ],
)
def test_a_malformed_body_is_refused(dav: Client, home: str, body: bytes) -> None:
    assert dav("PROPFIND", home, body, Depth="0").status == 400


def test_a_huge_body_is_refused(dav: Client, home: str) -> None:
    assert dav("PROPFIND", home, b" " * (2 << 20), Depth="0").status == 413
    assert dav("PROPFIND", home, iter([b" " * (2 << 20)]), Depth="0").status == 413


def test_depth(dav: Client, home: str) -> None:
    dav("MKCOL", f"{home}a")
    dav("PUT", f"{home}a/f", b"")
    assert sorted(dav.propfind(home, depth="0").responses()) == [home]
    assert sorted(dav.propfind(home, depth="1").responses()) == [home, f"{home}a/"]
    everything = [home, f"{home}a/", f"{home}a/f"]
    assert sorted(dav.propfind(home, depth="infinity").responses()) == everything
    assert sorted(dav("PROPFIND", home).responses()) == everything
    assert dav.propfind(home, depth="2").status == 400
    assert dav.propfind(f"{home}none").status == 404
    assert dav.propfind(f"{home}a/f/").status == 404


def test_large_collections_come_whole_and_infinite_depth_is_refused(
    volume: Volume, dav: Client, home: str
) -> None:
    parent = volume.namespace.resolve([home.strip("/").encode()])[0].ino
    wanted = [f"member-{index:06}" for index in range(INFINITE_MAX + 1)]
    for start in range(0, len(wanted), 500):
        ops = [
            Create(parent, name.encode(), volume.new_ino(), S_IFREG, 0, 0)
            for name in wanted[start : start + 500]
        ]
        volume.submit(*ops)
    found = dav.propfind(home, f"{DAV}getetag", depth="1").responses()
    assert list(found) == [home, *(home + name for name in wanted)]
    refused = dav.propfind(home, depth="infinity")
    assert refused.status == 403
    assert refused.xml.find(f"{DAV}propfind-finite-depth") is not None
    assert dav.propfind(home, depth="0").status == 207
    body = dav("GET", home).body
    assert body.count(b"member-") == 2 * len(wanted)


def test_dead_properties_keep_their_xml(dav: Client, home: str) -> None:
    value = '<y:nested xmlns:y="urn:y" y:attr="&lt;&amp;">é\U0001f600<deep xmlns=""/></y:nested>tail'
    patch(dav, home, put('x:author xmlns:x="urn:x" xml:lang="de"', value))
    found = dav.propfind(home, "{urn:x}author").found(home, "{urn:x}author")
    assert found is not None
    assert found.get("{http://www.w3.org/XML/1998/namespace}lang") == "de"
    nested = found.find("{urn:y}nested")
    assert nested is not None
    assert (nested.get("{urn:y}attr"), nested.text, nested.tail) == ("<&", "é\U0001f600", "tail")
    assert nested.find("deep") is not None


def test_the_language_around_a_property_belongs_to_it(dav: Client, home: str) -> None:
    body = (
        b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop xml:lang="fr"><t xmlns="urn:x">oui</t></D:prop>'
        b"</D:set></D:propertyupdate>"
    )
    dav("PROPPATCH", home, body)
    found = dav.propfind(home, "{urn:x}t").found(home, "{urn:x}t")
    assert found is not None
    assert found.get("{http://www.w3.org/XML/1998/namespace}lang") == "fr"


def test_changes_are_made_in_order_and_all_or_none(dav: Client, home: str) -> None:
    one = 'x:p xmlns:x="urn:x"'
    remove = '<D:remove><D:prop><x:p xmlns:x="urn:x"/></D:prop></D:remove>'
    assert statuses(patch(dav, home, put(one, "1") + put(one, "2"))) == {"{urn:x}p": 200}
    assert dav.propfind(home, "{urn:x}p").text(home, "{urn:x}p") == "2"
    patch(dav, home, remove + put(one, "3"))
    assert dav.propfind(home, "{urn:x}p").text(home, "{urn:x}p") == "3"
    failed = patch(dav, home, put(one, "4") + put("D:getetag", "mine"))
    assert statuses(failed) == {"{urn:x}p": 424, f"{DAV}getetag": 403}
    assert failed.xml.find(f".//{DAV}error/{DAV}cannot-modify-protected-property") is not None
    assert dav.propfind(home, "{urn:x}p").text(home, "{urn:x}p") == "3"
    assert statuses(patch(dav, home, put(one, "5") + remove)) == {"{urn:x}p": 200}
    assert dav.propfind(home, "{urn:x}p").found(home, "{urn:x}p") is None
    assert statuses(patch(dav, home, remove)) == {"{urn:x}p": 200}, "removing nothing is no error"


def test_a_property_with_a_very_long_name(dav: Client, home: str) -> None:
    tag = "{urn:" + "n" * 400 + "}p"
    patch(dav, home, put(f'x:p xmlns:x="{tag[1:-2]}"', "long"))
    assert dav.propfind(home, tag).text(home, tag) == "long"
    assert dav.propfind(home).text(home, tag) == "long"


def test_a_property_beyond_the_limit_is_told(dav: Client, home: str) -> None:
    answer = patch(dav, home, put('x:p xmlns:x="urn:x"', "v" * 70_000))
    assert statuses(answer) == {"{urn:x}p": 507}


def test_attributes_that_are_no_properties_are_left_out(volume: Volume, dav: Client, home: str) -> None:
    ino = volume.namespace.resolve([home.strip("/").encode()])[0].ino
    volume.submit(SetXattr(ino, b"user.webdav.{urn:x}broken", b"<not xml"))
    volume.submit(SetXattr(ino, b"user.webdav.{urn:x}other", b"<a/>"))
    volume.submit(SetXattr(ino, b"user.note", b"mine"))
    answer = dav.propfind(home)
    assert answer.found(home, "{urn:x}broken") is None
    assert b"other" not in answer.body


def test_times_and_the_executable_bit_can_be_set(volume: Volume, dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"x")
    path = f"{home}f"
    executable = "{http://apache.org/dav/props/}executable"
    assert dav.propfind(path, executable).text(path, executable) == "F"
    patch(dav, path, put('a:executable xmlns:a="http://apache.org/dav/props/"', "T"))
    assert dav.propfind(path, executable).text(path, executable) == "T"
    attr = volume.namespace.resolve([part.encode() for part in path.strip("/").split("/")])[-1]
    assert attr.mode & 0o777 == 0o755
    when = formatdate(981173106, usegmt=True)
    patch(dav, path, put("D:getlastmodified", when))
    assert dav("HEAD", path).headers["Last-Modified"] == when
    assert statuses(patch(dav, path, put("D:getlastmodified", "yesterday"))) == {f"{DAV}getlastmodified": 409}


def test_quota(dav: Client, home: str) -> None:
    dav("PUT", f"{home}f", b"x" * 1000)
    used = dav.propfind(home, f"{DAV}quota-used-bytes", f"{DAV}quota-available-bytes")
    assert int(used.text(home, f"{DAV}quota-used-bytes") or "") >= 1000
    assert statuses(used)[f"{DAV}quota-available-bytes"] == 404, "nobody told this server how much is free"


def test_a_property_named_in_the_namespace_of_xml(dav: Client, home: str) -> None:
    body = b'<propfind xmlns="DAV:"><prop><xml:strange/></prop></propfind>'
    answer = dav("PROPFIND", home, body, Depth="0")
    assert statuses(answer) == {"{http://www.w3.org/XML/1998/namespace}strange": 404}
