"""The request sequences of Finder and of Windows Explorer, replayed: neither can run here."""

from __future__ import annotations

import os

from harness.dav import DAV, Answer, Client

FINDER = {"User_Agent": "WebDAVFS/3.0.0 (03008000) Darwin/22.6.0 (x86_64)"}
WINDOWS = {"User_Agent": "Microsoft-WebDAV-MiniRedir/10.0.19045", "Translate": "f"}

FINDER_QUOTA = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:">\n<D:prop>\n'
    b"<D:quota-available-bytes/>\n<D:quota-used-bytes/>\n<D:quota/>\n<D:quotaused/>\n</D:prop>\n</D:propfind>\n"
)
FINDER_STAT = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:">\n<D:prop>\n<D:getlastmodified/>\n'
    b'<D:getcontentlength/>\n<D:creationdate/>\n<D:resourcetype/>\n<A:appledoubleheader xmlns:A="'
    b'http://www.apple.com/webdav_fs/props/"/>\n</D:prop>\n</D:propfind>\n'
)
FINDER_LOCK = (
    b'<?xml version="1.0" encoding="utf-8"?>\n<D:lockinfo xmlns:D="DAV:">\n<D:lockscope><D:exclusive/>'
    b"</D:lockscope>\n<D:locktype><D:write/></D:locktype>\n<D:owner>\n<D:href>http://www.apple.com/webdav_fs/"
    b"</D:href>\n</D:owner>\n</D:lockinfo>\n"
)
WINDOWS_LOCK = (
    b'<?xml version="1.0" encoding="utf-8" ?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/>'
    b"</D:lockscope><D:locktype><D:write/></D:locktype><D:owner><D:href>DESKTOP\\ann</D:href></D:owner>"
    b"</D:lockinfo>"
)
WINDOWS_TIMES = (
    b'<?xml version="1.0" encoding="utf-8" ?>'
    b'<D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:">'
    b"<D:set><D:prop><Z:Win32CreationTime>Sat, 03 Feb 2001 04:05:06 GMT</Z:Win32CreationTime>"
    b"<Z:Win32LastAccessTime>Sat, 03 Feb 2001 04:05:07 GMT</Z:Win32LastAccessTime>"
    b"<Z:Win32LastModifiedTime>Sat, 03 Feb 2001 04:05:08 GMT</Z:Win32LastModifiedTime>"
    b"<Z:Win32FileAttributes>00000020</Z:Win32FileAttributes></D:prop></D:set></D:propertyupdate>"
)
DATA = os.urandom(300_000)


def finder(dav: Client, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    return dav(method, path, body, **FINDER, **headers)


def finder_saves(dav: Client, path: str, data: bytes) -> None:
    """What Finder does for each file and once more for its ``._`` companion."""
    assert finder(dav, "PROPFIND", path, FINDER_STAT, Depth="0").status == 404
    assert finder(dav, "PUT", path, b"").status == 201
    lock = finder(dav, "LOCK", path, FINDER_LOCK, Depth="0", Timeout="Second-600")
    assert lock.status == 200
    token = {"If": f"(<{lock.lock_token}>)"}
    assert finder(dav, "PROPFIND", path, FINDER_STAT, Depth="0").status == 207
    pieces = iter([data[: len(data) // 2], data[len(data) // 2 :]])
    put = dav("PUT", path, pieces, X_Expected_Entity_Length=str(len(data)), **FINDER, **token)
    assert put.status == 204
    assert dav("LOCK", path, Timeout="Second-600", **FINDER, **token).status == 200
    assert finder(dav, "PROPFIND", path, FINDER_STAT, Depth="0").status == 207
    assert finder(dav, "UNLOCK", path, Lock_Token=f"<{lock.lock_token}>").status == 204


def test_finder_connects_saves_renames_and_deletes(dav: Client, home: str) -> None:
    options = finder(dav, "OPTIONS", home)
    assert "2" in options.headers["DAV"], "without class 2 Finder mounts read-only"
    assert finder(dav, "PROPFIND", home, FINDER_QUOTA, Depth="0").status == 207
    assert finder(dav, "PROPFIND", home, FINDER_STAT, Depth="1").status == 207
    for probe in (
        ".DS_Store",
        "._.",
        ".hidden",
        ".Spotlight-V100",
        "Backups.backupdb",
        ".metadata_never_index",
    ):
        assert finder(dav, "PROPFIND", home + probe, FINDER_STAT, Depth="0").status == 404
        assert finder(dav, "GET", home + probe).status == 404
    finder_saves(dav, f"{home}report.pdf", DATA)
    finder_saves(dav, f"{home}._report.pdf", b"\0\5\x16\7" + bytes(4092))
    assert finder(dav, "GET", f"{home}report.pdf").body == DATA
    assert finder(dav, "GET", f"{home}report.pdf", Range="bytes=0-4095").body == DATA[:4096]
    assert len(finder(dav, "GET", f"{home}._report.pdf").body) == 4096, "a real file is never hidden"
    for name in ("report.pdf", "._report.pdf"):
        renamed = name.replace("report", "final%20report")
        moved = finder(dav, "MOVE", home + name, Destination=dav.url(home + renamed), Overwrite="F")
        assert moved.status == 201
        assert finder(dav, "DELETE", home + renamed).status == 204
    assert finder(dav, "MKCOL", f"{home}untitled%20folder/").status == 201
    assert finder(dav, "DELETE", f"{home}untitled%20folder/").status == 204


def test_finder_loses_its_connection_while_it_saves(dav: Client, home: str) -> None:
    path = f"{home}f"
    finder_saves(dav, path, DATA)
    lock = finder(dav, "LOCK", path, FINDER_LOCK, Depth="0", Timeout="Second-600")
    short = dav(
        "PUT",
        path,
        iter([DATA[:1000]]),
        X_Expected_Entity_Length=str(len(DATA)),
        If=f"(<{lock.lock_token}>)",
        **FINDER,
    )
    assert short.status == 400
    assert finder(dav, "GET", path).body == DATA


def windows(dav: Client, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    return dav(method, path, body, **WINDOWS, **headers)


def test_windows_explorer_maps_a_drive_and_saves(dav: Client, home: str) -> None:
    options = windows(dav, "OPTIONS", "/")
    assert options.headers["MS-Author-Via"] == "DAV"
    assert windows(dav, "PROPFIND", "/", b"", Depth="0").status == 207
    listing = windows(dav, "PROPFIND", home, b"", Depth="1")
    assert listing.status == 207
    assert listing.headers["Content-Type"].startswith("application/xml")
    path = f"{home}New%20Text%20Document.txt"
    assert windows(dav, "PROPFIND", path, b"", Depth="0").status == 404
    assert windows(dav, "PUT", path, b"").status == 201
    lock = windows(dav, "LOCK", path, WINDOWS_LOCK, Timeout="Second-3600")
    assert lock.status == 200
    token = {"If": f"(<{lock.lock_token}>)"}
    assert windows(dav, "PROPPATCH", path, WINDOWS_TIMES).status == 423
    patched = dav("PROPPATCH", path, WINDOWS_TIMES, **WINDOWS, **token)
    assert patched.status == 207
    assert {e.text for e in patched.xml.iter(f"{DAV}status")} == {"HTTP/1.1 200 OK"}
    assert windows(dav, "HEAD", path).headers["Last-Modified"] == "Sat, 03 Feb 2001 04:05:08 GMT"
    assert dav("PUT", path, DATA, **WINDOWS, **token).status == 204
    assert dav("PROPPATCH", path, WINDOWS_TIMES, **WINDOWS, **token).status == 207
    everything = windows(dav, "PROPFIND", path, b"", Depth="0")
    assert everything.text(path, "{urn:schemas-microsoft-com:}Win32FileAttributes") == "00000020"
    assert everything.text(path, f"{DAV}getlastmodified") == "Sat, 03 Feb 2001 04:05:08 GMT"
    assert windows(dav, "UNLOCK", path, Lock_Token=f"<{lock.lock_token}>").status == 204
    assert windows(dav, "GET", path).body == DATA
    moved = windows(dav, "MOVE", path, Destination=dav.url(f"{home}notes.txt"), Overwrite="F")
    assert moved.status == 201
    copied = windows(dav, "COPY", f"{home}notes.txt", Destination=dav.url(f"{home}copy.txt"), Overwrite="T")
    assert copied.status == 201
    assert windows(dav, "DELETE", f"{home}notes.txt").status == 204
    assert windows(dav, "MKCOL", f"{home}New%20folder").status == 201
    assert windows(dav, "PROPPATCH", f"{home}New%20folder", WINDOWS_TIMES).status == 207


def test_office_locks_saves_and_is_told_of_others(dav: Client, home: str) -> None:
    """LibreOffice and Word: lock, read, save under the lock; a second one sees who has it."""
    path = f"{home}letter.odt"
    dav("PUT", path, b"first")
    lock = windows(dav, "LOCK", path, WINDOWS_LOCK, Timeout="Infinite, Second-180", Depth="0")
    assert windows(dav, "LOCK", path, WINDOWS_LOCK, Depth="0").status == 423
    told = dav.propfind(path, f"{DAV}lockdiscovery").found(path, f"{DAV}lockdiscovery")
    assert told is not None
    assert told.findtext(f"{DAV}activelock/{DAV}owner/{DAV}href") == "DESKTOP\\ann"
    token = {"If": f"<{dav.url(path)}> (<{lock.lock_token}>)"}
    etag = dav("HEAD", path).etag
    assert dav("PUT", path, b"second", If_Match=etag, **token).status == 204
    assert dav("PUT", path, b"third", If_Match=etag, **token).status == 412
    assert dav("UNLOCK", path, Lock_Token=f"<{lock.lock_token}>").status == 204
    assert dav("GET", path).body == b"second"
