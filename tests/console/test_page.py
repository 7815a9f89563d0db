"""The page in a browser: what its users do."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium.webdriver.common.keys import Keys

from console.page import Page
from harness.api import blob_id
from harness.ports import free_port
from harness.waiting import wait_until

FILES = "/api/v1/files"
ON = "graviton.auth.enabled = true"
DROP = """
const [name, text] = arguments;
const data = new DataTransfer();
data.items.add(new File([Uint8Array.from(atob(text), (one) => one.charCodeAt(0))], name));
for (const kind of ["dragenter", "dragover", "drop"]) {
    const event = new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
    document.getElementById("drop").dispatchEvent(event);
}"""
EVIL = "<img src=x onerror=hacked=1>"


def names(page: Page) -> list[str]:
    found: list[str] = page.run(
        "return [...document.querySelectorAll('tbody a.name')].map((one) => one.innerText)"
    )
    return found


def test_signing_in_and_files_by_keyboard_alone(daemon: Callable[..., Any], page: Page) -> None:
    one = daemon(f"{ON}\ngraviton.trash {{ days = 1, min-age = 0s }}")
    boss = one.client(one.token("boss", "--scope", "admin"))
    boss("PUT", f"{FILES}/folder/inside", b"in a folder")
    boss("PUT", f"{FILES}/%3Cimg%20src=x%20onerror=hacked=1%3E", b"<script>hacked=1</script>")
    boss("PUT", f"{FILES}/%FF%FE", b"no text")
    token = one.token("laptop")
    page.open(one.url)
    page.find("#token")
    page.picture("sign-in")
    page.keys("me", Keys.TAB, "grv_nonsense", Keys.ENTER)
    page.says("This token is unknown")
    wait_until(lambda: page.run("return document.activeElement.id") == "token", "the focus on the token")
    page.keys(token, Keys.ENTER)
    page.find("nav")
    page.says("folder")
    assert [view.text for view in page.all("nav[aria-label=Views] li")] == ["Files", "Snapshots"]
    assert names(page) == [EVIL, "folder", "\ufffd\ufffd"]
    assert page.run("return typeof hacked") == "undefined"
    assert not page.all("tbody img")
    wait_until(lambda: page.focused() == EVIL, "the focus on the first file")
    page.driver.refresh()
    page.find("tbody a.name")
    page.keys(Keys.TAB)
    assert page.focused() == "Skip to the content"
    page.keys(Keys.ENTER)
    for _ in range(20):
        page.keys(Keys.TAB)
        if page.focused() == EVIL:
            break
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keys(Keys.ENTER)
    page.find("#preview pre", "<script>")
    page.picture("preview")
    page.keys(Keys.ESCAPE)
    wait_until(lambda: not page.all("dialog"), "the dialog to close")
    assert page.focused() == EVIL
    page.keys(Keys.ARROW_DOWN, Keys.ENTER)
    page.says("inside")
    page.driver.back()
    page.find("tbody a.name", EVIL).send_keys(Keys.DELETE)
    page.find("dialog", f"Delete {EVIL}?")
    page.keys(Keys.ENTER)
    wait_until(lambda: names(page) == ["folder", "\ufffd\ufffd"], "the file to go")
    page.find("#removed").send_keys(Keys.ENTER)
    page.find("#trash li", EVIL)
    page.chord(Keys.SHIFT, Keys.TAB)
    page.keys(Keys.ENTER)
    page.says("Nothing was removed")
    page.keys(Keys.ESCAPE)
    wait_until(lambda: EVIL in names(page), "the file to be back")
    assert boss("GET", f"{FILES}/%3Cimg%20src=x%20onerror=hacked=1%3E").body == b"<script>hacked=1</script>"
    page.click("tbody a.name", "\ufffd\ufffd")
    page.find("#preview pre", "no text")
    page.keys(Keys.ESCAPE)
    page.press("Sign out")
    page.find("#token")


def test_uploads_and_downloads(daemon: Callable[..., Any], page: Page, tmp_path: Path) -> None:
    one = daemon(f"{ON}\ngraviton.constraints.rate-limit.bytes-per-second = 12MB")
    one.running.stop()
    port = free_port()
    one.start(port)
    boss = one.client(one.token("boss", "--scope", "admin"))
    page.sign_in(one.url, one.token("laptop"))
    page.says("Nothing is here yet")
    small = bytes(range(256)) * 40
    page.run(DROP, "dropped #1?.bin", base64.b64encode(small).decode())
    page.find("tbody a.name", "dropped #1?.bin")
    assert boss("GET", f"{FILES}/dropped%20%231%3F.bin").body == small

    large = os.urandom(50_000_000)
    (tmp_path / "large.bin").write_bytes(large)
    choose = page.all("#choose-files")[0]
    choose.send_keys(str(tmp_path / "large.bin"))

    def offset() -> int:
        found = boss("GET", "/api/v1/uploads").json["uploads"]
        return found[0]["offset"] if found else 0

    wait_until(lambda: offset() >= 8 << 20, "a part to be there", 60)
    page.picture("uploading")
    page.driver.refresh()
    page.find("#interrupted", "/large.bin")
    page.picture("interrupted")
    kept = offset()
    assert 0 < kept < len(large)
    page.all("#choose-files")[0].send_keys(str(tmp_path / "large.bin"))
    wait_until(lambda: offset() > kept, "it to go on", 60)
    one.running.kill()
    one.start(port)
    boss.close()
    page.find("#tray .upload[data-state=done]", timeout=60)
    assert boss("HEAD", f"{FILES}/large.bin").headers["content-length"] == str(len(large))
    entries = boss("GET", FILES).json["entries"]
    assert next(found["blob"] for found in entries if found["name"] == "large.bin") == blob_id(large)
    done = boss("GET", "/api/v1/admin/counters").json["operations"]
    (posts,) = [found["count"] for found in done if found["name"] == "post uploads"]
    assert posts == 1  # which completed it: no other one was begun

    page.find("tr", "dropped #1?.bin").find_element("css selector", "input").click()
    page.press("Download")
    # The browser reserves the name before there are bytes.
    [found] = wait_until(
        lambda: [path for path in page.downloads.glob("dropped*.bin") if path.stat().st_size], "the download"
    )
    assert found.read_bytes() == small
    page.all("#choose-files")[0].send_keys(str(tmp_path / "large.bin"))
    page.find("dialog", "Replace large.bin?")
    page.press("Cancel")


def test_a_snapshot_is_made_and_gives_back(daemon: Callable[..., Any], page: Page) -> None:
    one = daemon()
    one.api("PUT", f"{FILES}/papers/letter", b"dear reader")
    page.open(one.url)
    page.find("nav")
    page.go("snapshots")
    page.click("#new-snapshot")
    page.find("dialog input")
    page.keys("before", Keys.ENTER)
    page.find("tbody a", "before")
    page.picture("snapshots")
    one.api("PUT", f"{FILES}/papers/letter", b"spoilt")
    page.press("before")
    page.press("papers")
    page.find("tr", "letter").find_element("css selector", "input").click()
    page.press("Bring back")
    page.find("dialog", "letter is there")
    page.press("Put beside")
    page.says("letter is back")
    assert one.api("GET", f"{FILES}/papers/letter%20(before)").body == b"dear reader"
    page.press("Bring back")
    page.click("dialog button", "Replace")
    wait_until(
        lambda: one.api("GET", f"{FILES}/papers/letter").body == b"dear reader", "the letter to be back"
    )


TWO = """graviton { replication { factor = 2, repair.interval = 1s }
  console.history-interval = 1s
  storage.targets = [{ name = other, kind = directory, path = "%s/other" }] }"""


def test_targets_jobs_and_usage(daemon: Callable[..., Any], page: Page, scratch: Path, graviton: Any) -> None:
    graviton.allow_log("other|cop(y|ies)")
    one = daemon(TWO % scratch)
    data = os.urandom(3_000_000)
    one.api("PUT", f"{FILES}/other", os.urandom(1_200_000))
    assert one.running.stop() == 0
    one.start()  # what comes now goes to another pack
    for n in range(3):
        one.api("PUT", f"{FILES}/same-{n}", data)
    assert one.running.stop() == 0
    one.start()
    page.open(one.url)
    page.find("#health")
    page.says("All is well", 40)
    page.find(".figure", "59 %", 60)
    page.picture("overview")
    page.run("document.querySelector('.plot').focus()")
    page.keys(Keys.HOME)
    assert "In files \u2013" in " ".join(page.find(".readout").text.split())

    page.go("targets")
    page.find(".target", "healthy")
    assert len(page.all(".target .state.good")) == 2
    page.picture("targets")
    (scratch / "other").rename(scratch / "away")
    page.find(".target .state.bad", "does not answer", 60)
    page.picture("targets-bad")
    (scratch / "away").rename(scratch / "other")
    wait_until(lambda: len(page.all(".target .state.good")) == 2, "the target to be healthy", 60)

    page.go("jobs")
    page.click("#start-gc")
    page.find("#jobs .job", "Collection")
    started = one.api("POST", "/api/v1/admin/scrub", {"bytes_per_second": 600_000})
    assert started.status == 202
    bar = page.find("#jobs progress")
    page.find("#jobs .meter", "bytes verified: 1.1 MiB of 4.0 MiB")  # the first of two packs
    page.picture("jobs")
    assert bar
    page.click("#jobs button", "Cancel")
    page.find("#jobs .job", "cancelled")

    page.go("sessions")
    page.find("tbody td", "records")
    page.picture("sessions")


def test_light_dark_and_narrow(daemon: Callable[..., Any], page: Page) -> None:
    one = daemon("graviton.console.history-interval = 1s")
    one.api("PUT", f"{FILES}/some/where/file.txt", b"x" * 5000)
    page.open(one.url)
    page.find(".figure", timeout=60)
    for scheme, wide in (("light", 420), ("dark", 1280)):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        page.driver.set_window_size(wide, 850)
        assert lightness(page) == scheme
        for view in ("overview", "files/main/some", "jobs", "targets"):
            page.go(view)
            page.find("main h1")
            page.find(".card")
            assert page.run("return document.documentElement.scrollWidth <= innerWidth"), (wide, view)
            page.picture(f"{view.partition('/')[0]}-{scheme}-{wide}")
    page.click("#theme")
    assert lightness(page) == "light"
    page.click("#theme")
    assert lightness(page) == "dark"
    media = {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    page.driver.refresh()
    page.find("nav")
    assert lightness(page) == "dark"


def lightness(page: Page) -> str:
    colour = page.run("return getComputedStyle(document.body).backgroundColor")
    red = int(colour.partition("(")[2].partition(",")[0])
    return "light" if red > 128 else "dark"
