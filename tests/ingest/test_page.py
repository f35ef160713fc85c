"""The page in a real browser: what a person sees of a running, a failing and a restarted daemon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from streamer.ingest.details import Shown
from streamer.ingest.http import HttpServer
from tests.ingest import snapshots
from tests.ingest.browser import Browser, browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTILE = "<img src=x onerror=\"document.title='pwned'\"><script>document.title='pwned'</script>"
ADVICE = "set on_damage: salvage"
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


class Known:
    """What `Details` finds, without a queue and without files."""

    def __init__(self, snapshot: dict[str, Any], sheet: Path | None = None) -> None:
        self._snapshot, self._sheet = snapshot, sheet

    def recent(self) -> str:
        return "2026-11-26T17:01:02 info begun recording=run_13"

    def about(self, number: int) -> dict[str, Any] | None:
        recordings: list[dict[str, Any]] = self._snapshot["recordings"]
        found = next((one for one in recordings if one["id"] == number), None)
        if found is None:
            return None
        is_done = found["state"] == "done"
        outputs = [{"consumer": "dataset", "path": "/data/out", "there": True, "files": [{"name": HOSTILE, "size": 5}]}]
        more = {"outputs": outputs if is_done else [], "logs": ["reader.log"], "report": {}}
        return found | more | {"pictures": [found["name"]] if is_done and self._sheet else []}

    def picture(self, number: int, place: int) -> Shown | None:
        del number, place
        assert self._sheet is not None
        return Shown("a.png", "image/png", self._sheet.stat().st_size, os.open(self._sheet, os.O_RDONLY))

    def log(self, number: int, name: str) -> str | None:
        return f"{name} of {number}: <b>decoded</b>"


def face(snapshot: dict[str, Any], port: int = 0, token: str | None = None, sheet: Path | None = None) -> HttpServer:
    details: Any = Known(snapshot, sheet)

    def act(verb: str, **values: str) -> dict[str, Any]:
        return {"text": f"{verb} {values}"}

    return HttpServer("127.0.0.1", port, token, lambda: snapshot, lambda: None, lambda _: png(), act, details)


def busy() -> dict[str, Any]:
    """Return a snapshot with something of everything, and names that would do harm if they were HTML."""
    recordings = [
        snapshots.recording(13, "running"),
        snapshots.recording(14, "queued", name=HOSTILE, path=f"/data/incoming/{HOSTILE}.bag"),
        snapshots.recording(15, "running", name=HOSTILE, path=f"/data/incoming/{HOSTILE}.bag", began=1.0),
        snapshots.recording(12, "quarantined", attempts=3, error=f"{DAMAGED}; {ADVICE}", advice=ADVICE),
        *(snapshots.recording(number, "done") for number in range(100, 180)),
    ]
    running = [snapshots.run(13, image="/image/13"), snapshots.run(15, name=HOSTILE, path=HOSTILE, status={})]
    return snapshots.counted(snapshots.idle(recordings=recordings, running=running, warnings=[HOSTILE]))


def opened(window: Browser, key: str) -> str:
    """Open a recording's details; return what selects its row."""
    row = f"#recordings > li[data-key='{key}']"
    window.click(f"{row} > details > summary")
    window.until(lambda: window.run("return document.querySelector(arguments[0])?.open", f"{row} > details"), "open")
    return row


def test_the_page_shows_a_running_pipeline(window: Browser) -> None:
    with face(busy()) as server:
        window.open(server.url)
        window.until_text("run_13", "#recordings")
        row = "#recordings > li[data-key='#13']"
        assert "50 %" in window.text(f"{row} .what")
        assert window.run("return document.querySelector(arguments[0]).value", f"{row} progress") == 0.5
        opened(window, "#13")
        window.until_text("120 of 240", f"{row} .run .facts")
        assert "84.1 frames/s" in window.text(f"{row} .run .facts")
        assert "36 MB of 510 MB" in window.text(f"{row} .run .facts")
        assert window.text(f"{row} .waits") == "dataset sets the pace: it is 7 frames behind."
        script = "return document.querySelector(arguments[0])?.naturalWidth"
        window.until(lambda: window.run(script, f"{row} .run .picture img") == 160, "the newest picture")
        assert not window.complaints()


def test_memory_is_folded_until_a_process_grows(window: Browser) -> None:
    snapshot = busy()
    for values in snapshot["running"][0]["status"]["memory"].values():
        values["verdict"] = "stable"
    row = "#recordings > li[data-key='#13']"
    with face(snapshot) as server:
        window.open(server.url)
        window.until_text("run_13", "#recordings")
        opened(window, "#13")
        window.until_text("112 MB in 2 processes", f"{row} .run .fold")
        assert not window.run("return document.querySelector(arguments[0]).open", f"{row} .run .fold")
        snapshot["running"] = [snapshots.run(13)]
        window.until_text("dataset holds more with every chunk", f"{row} .run .fold > summary")
        dataset = f"{row} .processes li[data-key=dataset]"
        window.until_text("growing", dataset)
        path = "return document.querySelector(arguments[0])?.getAttribute('d') ?? ''"
        line = window.until(lambda: window.run(path, f"{dataset} .line"), "the curve")
        assert (line.count("M"), line.count("L")) == (2, 6)  # two processes, four chunks each
        assert window.run(path, f"{dataset} .recycles").count("M") == 1
        label = window.run("return document.querySelector(arguments[0]).ariaLabel", f"{dataset} svg")
        assert label == "Memory of dataset: now 51 MB, peak 87 MB, 1 recycle"
        window.click(f"{row} .run .fold > summary")  # a person folds it: it stays so
        snapshot["running"] = [snapshots.run(13, done=180)]
        window.until_text("75 %", f"{row} .what")
        assert not window.run("return document.querySelector(arguments[0]).open", f"{row} .run .fold")
        assert not window.complaints()


def test_nobody_is_said_to_wait_for_a_consumer_that_is_done_and_no_peak_is_below_what_is_held(window: Browser) -> None:
    run = snapshots.run(13, done=240)
    consumers = run["status"]["consumers"]
    consumers["dataset"] |= {"phase": "done", "behind": 7}
    consumers["video"] = consumers["dataset"] | {"phase": "closing", "behind": 0}
    run["status"]["memory"]["reader"] |= {"anon": 99_000_000, "verdict": "leaking"}
    with face(snapshots.idle(recordings=[snapshots.recording(13, "running")], running=[run])) as server:
        window.open(server.url)
        window.until_text("run_13", "#recordings")
        row = opened(window, "#13")
        window.until_text("peak 99 MB", f"{row} .processes li[data-key=reader]")
        assert window.text(f"{row} .waits") == "All frames are through: video finishes its output."
        dataset = window.text(f"{row} .processes li[data-key=dataset]")
        assert "done" in dataset
        assert "behind" not in dataset
        assert not window.complaints()


def test_what_settles_is_listed_once_however_often_it_is_drawn(window: Browser) -> None:
    nothing = dict.fromkeys(("id", "seen", "began", "ended", "next_try", "frames"))
    settling = [
        snapshots.recording(0, "settling", **nothing | {"name": name, "path": f"/data/incoming/{name}"}, attempts=0)
        for name in ("a.bag", "b.bag")
    ]
    snapshot = snapshots.counted(snapshots.idle(recordings=settling))
    with face(snapshot) as server:
        window.open(server.url)
        window.until_text("b.bag", "#recordings")
        for jobs in (3, 4, 5):
            snapshot["jobs"] = jobs
            window.until_text(f"{jobs} recordings", "#machine")
        rows = "return [...document.querySelectorAll('#recordings > li .name')].map((node) => node.innerText)"
        assert sorted(window.run(rows)) == ["a.bag", "b.bag"]


def test_the_page_shows_a_quarantined_recording_with_its_error_and_what_to_do(window: Browser) -> None:
    with face(busy()) as server:
        window.open(server.url)
        window.until_text("1 recording is quarantined", "h1")
        assert DAMAGED in window.text("#recordings > li[data-state=quarantined]")
        first = "return [...document.querySelectorAll('#recordings > li')].map((node) => node.dataset.state)"
        assert window.run(first)[:3] == ["running", "running", "quarantined"]  # what runs, then what needs a look
        window.click("#states [data-state=quarantined]")
        assert window.run("return document.querySelectorAll('#recordings > li').length") == 1
        row = opened(window, "#12")
        window.until_text("Set on_damage: salvage.", f"{row} .trouble")
        assert DAMAGED in window.text(f"{row} .trouble")
        assert "/data/incoming/run_12.bag" in window.text(f"{row} .about")
        window.click("#states [data-state=all]")
        assert window.run("return document.querySelector(arguments[0]).open", f"{row} > details")
        assert not window.complaints()


def test_what_is_done_shows_its_pictures_and_outputs(window: Browser, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    with face(busy(), sheet=tmp_path / "a.png") as server:
        window.open(server.url)
        window.until_text("1 recording is quarantined", "h1")
        row = opened(window, "#179")
        script = "return document.querySelector(arguments[0])?.naturalWidth"
        window.until(lambda: window.run(script, f"{row} .sheets img") == 160, "its sheet")
        assert HOSTILE in window.text(f"{row} .files")
        assert "/data/out" in window.text(f"{row} .outputs")
        assert not window.complaints()


def test_with_a_token_there_are_buttons_logs_and_links(window: Browser, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    with face(busy(), token="sesame", sheet=tmp_path / "a.png") as server:  # noqa: S106 - of this test
        window.open(f"{server.url}?token=sesame")
        window.until_text("run_13", "#recordings")
        row = opened(window, "#12")
        window.until_text("Log", f"{row} .inside > .fold")
        window.click(f"{row} .inside > .fold > summary")
        window.until_text("reader.log of 12: <b>decoded</b>", f"{row} pre")
        window.run("window.confirm = (words) => (window.asked = words, true)")
        window.click(f"{row} button[data-is=retry]")
        window.until_text("retry {'what': '#12'}", "#told")
        window.click("#pause")
        window.until_text("pause {}", "#told")
        assert "What runs goes on" in window.run("return window.asked")
        window.click("#log > summary")
        window.until_text("begun recording=run_13", "#log-text")
        done = opened(window, "#179")
        window.until_text(HOSTILE, f"{done} .files")
        link = window.run("return document.querySelector(arguments[0]).getAttribute('href')", f"{done} .files a")
        assert link == "output/179/dataset/0"
        assert not window.complaints()


def test_a_keyboard_is_enough(window: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    def press(*keys: str) -> None:
        for key in keys:
            window.driver.switch_to.active_element.send_keys(key)

    focused = "return document.activeElement.closest('#recordings > li')?.dataset.key ?? document.activeElement.id"
    with face(busy()) as server:
        window.open(server.url)
        window.until_text("run_13", "#recordings")
        press("j", "j")
        order = window.run("return [...document.querySelectorAll('#recordings > li')].map((node) => node.dataset.key)")
        assert window.run(focused) == order[1]
        press("k", Keys.ENTER)
        assert window.run("return document.querySelector('#recordings > li > details').open")
        press(Keys.ESCAPE)
        assert not window.run("return document.querySelector('#recordings > li > details').open")
        press("/")
        assert window.run(focused) == "search"
        press("e", "n", "d", "s", " ", "a", "t")
        assert window.run("return document.querySelectorAll('#recordings > li').length") == 1
        press(Keys.ESCAPE)
        assert window.run("return document.querySelectorAll('#recordings > li').length") == 50
        unnamed = window.run(_UNNAMED)
        assert unnamed == []
        assert not window.complaints()


_UNNAMED = """
  return [...document.querySelectorAll('button:not([hidden]), a[href], input, select, svg[role=img], progress')]
    .filter((node) => node.checkVisibility())
    .filter((node) => !(node.ariaLabel || node.innerText || node.querySelector('img[alt]:not([alt=""])')))
    .map((node) => node.outerHTML);
"""


def test_nothing_comes_from_elsewhere(window: Browser) -> None:
    with face(busy()) as server:
        window.open(server.url)
        window.until_text("run_13", "#recordings")
        loaded = window.run("return performance.getEntriesByType('resource').map((one) => one.name)")
        assert len(loaded) > 4
        assert [name for name in loaded if not name.startswith(server.url)] == []


def test_a_search_finds_recordings_and_the_list_is_no_longer_than_asked_for(window: Browser) -> None:
    with face(busy()) as server:
        window.open(server.url)
        count = "return document.querySelectorAll('#recordings > li').length"
        window.until(lambda: window.run(count) == 50, "the first recordings")
        window.click("#more")
        assert window.run(count) == 84
        window.driver.find_element("id", "search").send_keys("ends at byte")
        assert window.run(count) == 1
        assert not window.complaints()


def test_what_a_recording_is_called_is_shown_as_text(window: Browser) -> None:
    with face(busy()) as server:
        window.open(server.url)
        window.until(lambda: HOSTILE in window.text("#recordings"), "the hostile name")
        row = opened(window, "#15")
        window.until_text(f"{HOSTILE}.bag", f"{row} .about")
        assert HOSTILE in window.text("#warnings")
        assert window.run("return document.querySelectorAll('main script, main [onerror], .name img').length") == 0
        assert "pwned" not in window.driver.title
        assert not window.complaints()


def test_the_page_survives_a_restart_of_the_daemon(window: Browser) -> None:
    first = face(snapshots.idle(recordings=[snapshots.recording(1, "running")], running=[snapshots.run(1)]))
    with first:
        window.open(first.url)
        window.until_text("run_1", "#recordings")
        window.until_text("All is well: watching for recordings.", "h1")
    window.until_text("Disconnected since", "h1")
    paused = snapshots.idle(state="paused", paused="2.1 GB are free on /data, below free_space 5 GB")
    with face(paused, first.address[1]):
        window.until_text("Paused: 2.1 GB are free on /data, below free_space 5 GB.", "h1")
        assert window.text("#recordings") == ""
        assert "No recording yet" in window.text("main")
    assert not window.complaints(offline=True)


def test_a_change_is_shown_without_touching_what_did_not_change(window: Browser) -> None:
    snapshot = busy()
    with face(snapshot) as server:
        window.open(server.url)
        row = "#recordings > li[data-key='#13']"
        window.until_text("50 %", f"{row} .what")
        window.run("document.querySelector(arguments[0]).mine = true; document.querySelector('#search').focus()", row)
        snapshot["running"] = [snapshots.run(13, done=180), *snapshot["running"][1:]]
        window.until_text("75 %", f"{row} .what")
        assert window.run("return document.querySelector(arguments[0]).mine", row)
        assert window.run("return document.activeElement.id") == "search"


@pytest.mark.parametrize("width", [320, 375])
def test_a_phone_needs_no_scrolling_sideways(window: Browser, width: int) -> None:
    snapshot = busy()
    snapshot["recordings"][1]["error"] = "x" * 400
    with face(snapshot) as server:
        window.open(server.url, width=width, height=700)
        window.until_text("run_13", "#recordings")
        for key in ("#13", "#14", "#12", "#179"):
            opened(window, key)
        window.until_text("dataset", "#recordings > li[data-key='#179'] .outputs")
        assert window.run("return innerWidth") == width
        assert window.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


def test_dark_mode_is_dark_and_both_modes_can_be_read(window: Browser) -> None:
    with face(busy()) as server:
        for is_dark in (False, True):
            window.open(server.url, is_dark=is_dark)
            window.until_text("run_13", "#recordings")
            opened(window, "#13")
            opened(window, "#12")
            window.until_text("growing", "#recordings > li[data-key='#13'] .processes")
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
    with face(busy(), token="open sesame") as server:  # noqa: S106 - of this test
        window.open(server.url)
        window.until_text("This page needs its token", "h1")
        window.driver.find_element("name", "token").send_keys("open sesame")
        window.click("button")
        window.until_text("run_13", "#recordings")
        assert window.driver.current_url == server.url
        window.open(server.url)
        window.until_text("run_13", "#recordings")
        assert window.run("return document.cookie") == ""
