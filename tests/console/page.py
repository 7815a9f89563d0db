"""Chromium without a window, and the page as its users find their way on it: by what is written on it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from harness.waiting import wait_until

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1280,900", "--lang=en",
)  # fmt: skip
_EXPECTED = re.compile(r"Failed to load resource: (the server responded with a status of 4|net::ERR_)")
"""The browser tells of each refused request; what the page makes of them is looked at by the tests."""


class _Driver(webdriver.ChromeService):
    """Ends by SIGTERM: the SDK asks by a request whose answer it never closes."""

    def send_remote_shutdown_command(self) -> None:
        pass


def chromium(folder: Path) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*_FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.set_capability("unhandledPromptBehavior", "accept")
    driver = webdriver.Chrome(options=options, service=_Driver(shutil.which("chromedriver")))
    driver.set_page_load_timeout(60)
    driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": os.fspath(folder / "downloads")}
    )
    return driver


class Page:
    def __init__(self, driver: webdriver.Chrome, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads

    def open(self, url: str) -> None:
        self.driver.get(f"{url}/console/")

    def go(self, where: str) -> None:
        """To a view; what is behind the number sign."""
        self.driver.execute_script("location.hash = arguments[0]", f"#/{where}")

    def sign_in(self, url: str, token: str) -> None:
        self.open(url)
        self.find("#token").send_keys(token)
        self.click("form button[type=submit]")
        self.find("nav")

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def find(self, selector: str, text: str = "", timeout: float = 20.0) -> WebElement:
        """The first that is seen and has the text in it."""

        def found() -> WebElement | None:
            script = """return [...document.querySelectorAll(arguments[0])].find(
                (one) => one.checkVisibility() && one.textContent.includes(arguments[1])) ?? null"""
            element: WebElement | None = self.driver.execute_script(script, selector, text)
            return element

        try:
            return wait_until(found, f"{selector} {text!r}", timeout)
        except AssertionError as late:
            raise AssertionError(f"{late}; the page says:\n{self.text()}") from None

    def press(self, text: str) -> None:
        self.click("button, a", text)

    def click(self, selector: str, text: str = "") -> None:
        """Again where it was replaced by a newer one meanwhile."""

        def clicked() -> bool:
            try:
                self.find(selector, text).click()
            except StaleElementReferenceException:
                return False
            return True

        wait_until(clicked, f"a click on {selector} {text!r}")

    def keys(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def chord(self, held: str, key: str) -> None:
        ActionChains(self.driver).key_down(held).send_keys(key).key_up(held).perform()

    def focused(self) -> str:
        """What has the focus, as it is called."""
        script = """const one = document.activeElement;
            return one.getAttribute('aria-label') ?? (one.textContent || one.id)"""
        return str(self.run(script)).strip()

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self) -> str:
        return str(self.run("return document.body.innerText"))

    def says(self, text: str, timeout: float = 20.0) -> None:
        try:
            wait_until(lambda: text in self.text(), text, timeout)
        except AssertionError:
            raise AssertionError(f"{text!r} is not on the page:\n{self.text()}") from None

    def picture(self, name: str) -> None:
        """Kept where somebody asks for it, to be looked at."""
        folder = os.environ.get("GRAVITON_PICTURES")
        if folder:
            self.driver.save_screenshot(os.path.join(folder, f"{name}.png"))

    def troubles(self) -> list[str]:
        told = [f"{one['level']} {one['message']}" for one in self.driver.get_log("browser")]
        return [one for one in told if not one.startswith(("INFO", "DEBUG")) and not _EXPECTED.search(one)]

    def forget(self) -> None:
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        self.driver.set_window_size(1280, 900)
        if self.driver.current_url.startswith("http"):
            self.driver.execute_script("localStorage.clear()")
        self.driver.delete_all_cookies()
        self.driver.get("about:blank")
