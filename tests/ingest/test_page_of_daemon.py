"""The real daemon in a real browser: a pipeline at work, a kill, a restart, a recording that was put aside."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection
from pathlib import Path

import cv2

from tests.ingest.browser import browser
from tests.ingest.driver import Watch, settings
from tests.pipeline.driver import wait_until

TOKEN = "open-sesame-open-sesame"  # noqa: S105 - of this test alone
GATE = {"use": "tests.pipeline.probes:Gate", "options": {"folder": ".", "at": 17}}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(address: str, path: str) -> tuple[int, str]:
    """Return status and text of what the daemon answers."""
    connection = HTTPConnection(address, timeout=120)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def post(address: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """Return status and text of what the daemon answers to somebody who wants something done."""
    connection = HTTPConnection(address, timeout=120)
    try:
        connection.request("POST", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_person_sees_what_runs_what_was_put_aside_and_a_restart(tmp_path: Path, small_bag: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    config = settings(incoming) | {"http": f"127.0.0.1:{free_port()}"}
    config["consumers"]["gate"] = GATE
    config["consumers"]["preview"] = {"options": {"out": "sheets"}}
    (incoming / "bad.bag").write_bytes(b"#ROSBAG V2.0\n" + bytes(5000))
    config["source"] |= {"give_up_after": "500 ms"}
    url = f"http://{config['http']}/"
    with browser(tmp_path / "profile") as window:
        with Watch(tmp_path, config) as daemon:
            (incoming / "good.bag").write_bytes(small_bag.read_bytes())
            wait_until((tmp_path / "here").exists, "the gate")
            window.open(url)
            window.until_text("good", "#recordings > li[data-state=running]")
            window.click("#recordings > li[data-state=running] > details > summary")
            window.until_text("of 40", ".run .facts")
            window.until(lambda: window.run("return document.querySelector('.run img')?.naturalWidth"), "the picture")
            daemon.wait(bad="quarantined")
            window.until_text("its recorder has not closed it", "#recordings")
            window.until_text("quarantined", "#headline")
            assert window.complaints() == []
            daemon.kill()
            window.until(lambda: "quarantined" not in window.text("#headline"), "that the daemon is gone")
        (tmp_path / "go").touch()
        with Watch(tmp_path, config) as daemon:
            daemon.wait(good="done")
            window.until_text("40 frames", "#recordings")  # nobody pressed anything
            assert window.complaints(offline=True) == []
            assert 'streamer_recordings{state="done"} 1' in get(config["http"], "/metrics")[1]
            assert get(config["http"], "/livez")[0] == 200
            assert post(config["http"], "/drain", {"X-Streamer-Act": ""})[0] == 403  # it has no token
            for path in ("/log", "/log/1?of=reader.log", "/output/1/digest/0"):
                assert get(config["http"], path)[0] == 403, path
            assert daemon.end() == 0


def test_a_person_has_a_recording_done_again_and_drains_the_daemon_and_no_other_site_can(
    tmp_path: Path, small_bag: Path
) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    (incoming / "good.bag").write_bytes(small_bag.read_bytes())
    config = settings(incoming) | {"http": f"127.0.0.1:{free_port()}", "http_token": TOKEN}
    config["consumers"]["preview"] = {"options": {"out": "sheets"}}
    known = {"Authorization": f"Bearer {TOKEN}"}
    with browser(tmp_path / "profile") as window, Watch(tmp_path, config) as daemon:
        daemon.wait(good="done")
        (began,) = [one["began"] for one in daemon.status()["recordings"]]
        window.open(f"http://{config['http']}/?token={TOKEN}")
        window.until_text("40 frames", "#recordings")
        key = window.run("return document.querySelector('meta[name=act]').content")
        for headers in ({}, {"X-Streamer-Act": "guessed"}, {"X-Streamer-Act": key, "Origin": "http://evil.example"}):
            assert post(config["http"], "/drain", headers)[0] == 401, headers
            assert post(config["http"], "/drain", headers | known)[0] == 403, headers
        status, text = post(config["http"], "/retry/4711", {"X-Streamer-Act": key} | known)
        assert status == 409
        assert "no recording is known as '#4711'" in text
        window.click("#recordings summary")
        width = "return document.querySelector('#recordings .sheets img')?.naturalWidth"
        shown = window.until(lambda: window.run(width), "its pictures and curves")
        sheet = cv2.imread(str(tmp_path / "sheets" / "good.preview.png"))
        assert sheet is not None
        assert shown == sheet.shape[1]
        window.until_text("good.json", "#recordings .files")
        saved = window.run("return fetch(arguments[0]).then((answer) => answer.text())", "output/1/digest/0")
        assert saved == (tmp_path / "out" / "good.json").read_text()
        window.click("#log > summary")
        window.until_text("begun recording=good", "#log-text")
        window.run("window.confirm = (words) => (window.asked = words, true)")
        window.click("#recordings button[data-is=retry]")
        wait_until(lambda: [one["began"] for one in daemon.status()["recordings"]] != [began], "a second time")
        assert "good" in window.run("return window.asked")
        daemon.wait(good="done")
        window.click("#pause")
        window.until_text("Paused by hand", "#headline")
        assert daemon.status()["held"]
        window.click("#resume")
        window.until_text("All is well", "#headline")
        window.click("#drain")
        assert daemon.process.wait(120) == 0
        assert window.complaints(offline=True) == []


def test_a_person_looks_at_an_episode_and_rejects_it_with_a_note(tmp_path: Path, small_bag: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    (incoming / "good.bag").write_bytes(small_bag.read_bytes())
    config = settings(incoming) | {"http": f"127.0.0.1:{free_port()}", "http_token": TOKEN}
    config["consumers"] |= {"preview": {"options": {"out": "sheets"}}, "parquet": {"options": {"out": "tables"}}}
    known = {"Authorization": f"Bearer {TOKEN}"}
    with browser(tmp_path / "profile") as window, Watch(tmp_path, config) as daemon:
        daemon.wait(good="done")
        window.open(f"http://{config['http']}/?token={TOKEN}")
        window.until_text("40 frames", "#recordings")
        key = window.run("return document.querySelector('meta[name=act]').content")
        window.click("#recordings summary")
        window.until_text("Reject", "#recordings .review")
        window.click("#recordings .review [data-is=reject]")
        window.until_text("the next 'streamer merge' leaves it out", "#told")
        pressed = "return document.querySelector('#recordings .review [data-is=reject]').ariaPressed"
        window.until(lambda: window.run(pressed) == "true", "the verdict")
        note = window.driver.find_element("css selector", "#recordings .review input")
        note.send_keys("gripper <b>slipped</b>", "\n")
        kept = tmp_path / "tables.review.json"
        wait_until(lambda: "slipped" in kept.read_text(), "the note")
        said = {"good": {"verdict": "rejected", "note": "gripper <b>slipped</b>"}}
        assert json.loads(kept.read_text()) == {"episodes": said}
        assert not (tmp_path / "sheets.review.json").exists()
        for headers in ({}, {"X-Streamer-Act": "guessed"}, {"X-Streamer-Act": key, "Origin": "http://evil.example"}):
            assert post(config["http"], "/review/1?name=good&verdict=accepted", headers | known)[0] == 403, headers
        for query in ("name=other&verdict=rejected", "name=../x&verdict=rejected", "name=good&verdict=<b>"):
            assert post(config["http"], f"/review/1?{query}", {"X-Streamer-Act": key} | known)[0] == 409, query
        assert json.loads(kept.read_text()) == {"episodes": said}
        assert daemon.end() == 0


def test_the_daemon_is_not_ready_while_it_is_paused_and_not_open_to_everybody(tmp_path: Path, small_bag: Path) -> None:
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    (incoming / "a.bag").write_bytes(small_bag.read_bytes())
    config = settings(incoming) | {"http": f"127.0.0.1:{free_port()}", "free_space": "900 TB"}
    with Watch(tmp_path, config) as daemon:
        wait_until(lambda: daemon.status()["paused"], "the pause")
        status, text = get(config["http"], "/readyz")
        assert status == 503
        assert "below free_space" in text
    Watch(tmp_path, config | {"http": "0.0.0.0:0"}).process.wait(60)
    assert "needs a token" in (tmp_path / "daemon.log").read_text()
