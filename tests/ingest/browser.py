"""A headless Chromium for tests of the page: conditions with a deadline, what its console said, sizes and colours."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from selenium.webdriver import Chrome

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_DEADLINE = 120.0
_IS_DRAWN = "return document.querySelector(arguments[0])?.checkVisibility() ?? false"
_SEEN = """
    const found = document.querySelector(arguments[0]);
    return found?.checkVisibility() ? found.innerText : "";
"""


class Browser:
    """One window; it is a person's size of screen, and in light mode, until told otherwise."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, url: str, *, width: int = 1200, height: int = 900, is_dark: bool = False) -> None:
        """Go to a page, as on a screen of this size; forget what the console said before."""
        self._command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self._command("Emulation.setEmulatedMedia", features=[scheme])
        self._console()
        self.driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns on the page."""
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str = "body") -> str:
        """Return the text that is seen of the first element with this selector; none is there, or it is hidden: none.

        The check comes first because ``innerText`` of an element that is not drawn is all of its text.
        """
        return str(self.run(_SEEN, selector))

    def click(self, selector: str) -> None:
        """Press a button, open a summary; wait until it is drawn."""
        self.until(lambda: self.run(_IS_DRAWN, selector), f"{selector} to press")
        self.driver.find_element("css selector", selector).click()

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Return what the condition returns, once that is true.

        Raises:
            AssertionError: it is not in time; the message shows the page.

        """
        deadline = time.monotonic() + _DEADLINE
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what}: not in {_DEADLINE} s; the page says\n{self.text()}"
            self.run("return 0")  # a round trip to the browser lets both sides go on
        return found

    def until_text(self, text: str, selector: str = "body") -> None:
        """Wait until an element shows a text."""
        self.until(lambda: text in self.text(selector), f"{text!r} in {selector}")

    def complaints(self, *, offline: bool = False) -> list[str]:
        """Return the errors in the console; ``offline``: without the requests that nobody could answer."""
        severe = [entry for entry in self._console() if entry["level"] == "SEVERE"]
        return [entry["message"] for entry in severe if not (offline and "net::ERR_" in entry["message"])]

    def _console(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call] # Selenium's
        return found

    def _command(self, name: str, **values: Any) -> None:
        self.driver.execute_cdp_cmd(name, values)


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start Debian's Chromium with an empty profile; skip the test where it cannot be."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("needs Chromium and its driver: apt-get install chromium chromium-driver")
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    def start(headless: str) -> Chrome:
        options = ChromeOptions()
        options.binary_location = chromium
        for flag in (headless, f"--user-data-dir={profile}", *_FLAGS):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        return Chrome(options=options, service=ChromeService(chromedriver))

    try:
        driver = start("--headless=new")
    except WebDriverException:
        driver = start("--headless")  # what older versions call it
    try:
        yield Browser(driver)
    finally:
        driver.quit()
