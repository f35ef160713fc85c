"""The page in a real browser: what a person sees of a running, a failing and a restarted daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from streamer.ingest.http import HttpServer
from tests.ingest import snapshots
from tests.ingest.browser import Browser, browser

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
DAMAGED = "the recording is damaged: its index ends at byte 18220034 of 23910400"


@pytest.fixture(autouse=True)
def nobody_left_behind() -> None:
    """Let the browser's processes come and go: it outlives a test, and no test here starts another one."""


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return one browser for all tests of this module."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def png() -> bytes:
    return cv2.imencode(".png", np.full((90, 160, 3), 120, np.uint8))[1].tobytes()


def face(snapshot: dict[str, Any], port: int = 0) -> HttpServer:
    return HttpServer("127.0.0.1", port, None, lambda: snapshot, lambda: None, lambda _: png())


def busy() -> dict[str, Any]:
    """Return a snapshot with something of everything, and names that would do harm if they were HTML."""
    recordings = [
        snapshots.recording(13, "running"),
        snapshots.recording(14, "queued", name=HOSTILE, path=f"/data/incoming/{HOSTILE}.bag"),
        snapshots.recording(12, "quarantined", attempts=3, error=DAMAGED),
        *(snapshots.recording(number, "done") for number in range(100, 180)),
    ]
    running = [snapshots.run(13, image="/image/13"), snapshots.run(15, name=HOSTILE, path=HOSTILE, status={})]
    return snapshots.counted(snapshots.idle(recordings=recordings, running=running, warnings=[HOSTILE]))


def test_the_page_shows_a_running_pipeline(window: Browser) -> None:
    with face(busy()) as server:
        window.open(server.url)
        window.until_text("run_13", ".run h3")
        assert "50 %" in window.text(".run .left")
        assert window.run("return document.querySelector('.run progress').value") == 0.5
        assert "120 of 240" in window.text(".run .facts")
        assert "84.1 frames/s" in window.text(".run .facts")
        assert "36 MB of 510 MB" in window.text(".run .facts")
        assert window.text(".run .waits") == "The reader waits for dataset, which is 7 frames behind and holds 3 slots."
        dataset = ".processes li[data-key=dataset]"
        assert "growing" in window.text(dataset)
        line = window.run("return document.querySelector(arguments[0]).getAttribute('d')", f"{dataset} .line")
        assert (line.count("M"), line.count("L")) == (2, 6)  # two processes, four chunks each
        recycles = window.run("return document.querySelector(arguments[0]).getAttribute('d')", f"{dataset} .recycles")
        assert recycles.count("M") == 1
        label = window.run("return document.querySelector(arguments[0]).ariaLabel", f"{dataset} svg")
        assert label == "Memory of dataset: now 51 MB, peak 87 MB, 1 recycle"
        script = "return document.querySelector('.run .picture img').naturalWidth"
        window.until(lambda: window.run(script) == 160, "the preview image")
        assert not window.complaints()


def test_the_page_shows_a_quarantined_recording_with_its_error(window: Browser) -> None:
    with face(busy()) as server:
        window.open(server.url)
        window.until_text("1 recording is quarantined", "h1")
        assert DAMAGED in window.text("#recordings li:first-child")  # what needs a look stands first
        window.click("#states [data-state=quarantined]")
        assert window.run("return document.querySelectorAll('#recordings li').length") == 1
        window.click("#recordings summary")
        assert "/data/incoming/run_12.bag" in window.text("#recordings .facts")
        assert DAMAGED in window.text("#recordings .facts")
        window.click("#states [data-state=all]")
        assert window.run("return document.querySelector('#recordings details').open")
        assert not window.complaints()


def test_a_search_finds_recordings_and_the_list_is_no_longer_than_asked_for(window: Browser) -> None:
    with face(busy()) as server:
        window.open(server.url)
        count = "return document.querySelectorAll('#recordings li').length"
        window.until(lambda: window.run(count) == 50, "the first recordings")
        window.click("#more")
        assert window.run(count) == 83
        window.driver.find_element("id", "search").send_keys("ends at byte")
        assert window.run(count) == 1
        assert not window.complaints()


def test_what_a_recording_is_called_is_shown_as_text(window: Browser) -> None:
    with face(busy()) as server:
        window.open(server.url)
        window.until(lambda: window.text("#running").count(HOSTILE) == 2, "the hostile name and path")
        assert HOSTILE in window.text("#recordings")
        assert HOSTILE in window.text("#warnings")
        assert window.run("return document.querySelectorAll('main script, main [onerror], li img').length") == 0
        assert "pwned" not in window.driver.title
        assert not window.complaints()


def test_the_page_survives_a_restart_of_the_daemon(window: Browser) -> None:
    first = face(snapshots.idle(running=[snapshots.run(1)]))
    with first:
        window.open(first.url)
        window.until_text("run_1", ".run h3")
        window.until_text("All is well: watching for recordings.", "h1")
    window.until_text("Disconnected since", "h1")
    paused = snapshots.idle(state="paused", paused="2.1 GB are free on /data, below free_space 5 GB")
    with face(paused, first.address[1]):
        window.until_text("Paused: 2.1 GB are free on /data, below free_space 5 GB.", "h1")
        assert window.text("#running") == ""
        assert "Nothing runs now" in window.text("main")
    assert not window.complaints(offline=True)


def test_a_change_is_shown_without_touching_what_did_not_change(window: Browser) -> None:
    snapshot = busy()
    with face(snapshot) as server:
        window.open(server.url)
        window.until_text("50 %", ".run .left")
        window.run("document.querySelector('.run').mine = true; document.querySelector('#search').focus()")
        snapshot["running"] = [snapshots.run(13, done=180)]
        window.until_text("75 %", ".run .left")
        assert window.run("return document.querySelector('.run').mine")
        assert window.run("return document.activeElement.id") == "search"


@pytest.mark.parametrize("width", [320, 375])
def test_a_phone_needs_no_scrolling_sideways(window: Browser, width: int) -> None:
    snapshot = busy()
    snapshot["recordings"][1]["error"] = "x" * 400
    with face(snapshot) as server:
        window.open(server.url, width=width, height=700)
        window.until_text("run_13", ".run h3")
        window.click("#recordings summary")
        assert window.run("return innerWidth") == width
        assert window.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


def test_dark_mode_is_dark_and_both_modes_can_be_read(window: Browser) -> None:
    with face(busy()) as server:
        for is_dark in (False, True):
            window.open(server.url, is_dark=is_dark)
            window.until_text("run_13", ".run h3")
            ground = window.run("return getComputedStyle(document.body).backgroundColor")
            assert (_luminance(ground) < 0.1) == is_dark
            pairs = window.run(_COLOURS)
            assert len(pairs) > 5
            poor = {ink: ratio for ink, card in pairs if (ratio := _contrast(ink, card)) < 4.5}  # WCAG 2.2, 1.4.3 AA
            assert not poor, f"dark: {is_dark}"


_COLOURS = """
  const card = getComputedStyle(document.querySelector('.card')).backgroundColor;
  const inks = [...document.querySelectorAll('main p, main dt, main dd, main .quiet, main [data-verdict], main time')];
  return [...new Set(inks.map((node) => getComputedStyle(node).color))].map((ink) => [ink, card])
    .concat([...document.querySelectorAll('.state, .tag')].map((node) => getComputedStyle(node))
      .filter(({ backgroundColor }) => backgroundColor.startsWith('rgb(')).map((s) => [s.color, s.backgroundColor]));
"""


def _luminance(colour: str) -> float:
    """Return the relative luminance of ``rgb(r, g, b)``: WCAG 2.2."""
    channels = [int(value) / 255 for value in colour.removeprefix("rgb(").rstrip(")").split(",")]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_without_javascript_the_page_says_where_the_facts_are(window: Browser) -> None:
    with face(busy()) as server:
        window.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        try:
            window.open(server.url)
            found = window.driver.find_element("css selector", "noscript").text
            assert "status.json" in found
        finally:
            window.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_person_with_the_token_is_let_in_once_and_the_address_is_clean(window: Browser) -> None:
    with HttpServer("127.0.0.1", 0, "open sesame", busy, lambda: None, lambda _: None) as server:
        window.open(server.url)
        window.until_text("This page needs its token", "h1")
        window.driver.find_element("name", "token").send_keys("open sesame")
        window.click("button")
        window.until_text("run_13", ".run h3")
        assert window.driver.current_url == server.url
        window.open(server.url)
        window.until_text("run_13", ".run h3")
        assert window.run("return document.cookie") == ""
