"""A YAML file, the environment and overrides → a `Config`; every mistake with its line and its remedy."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from streamer.config.load import load
from streamer.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.config.model import Config

OFFER = "'streamer init RECORDING' writes a configuration to begin with"
GOOD = """\
source: {path: data/*.bag}
streams:
  head: {topic: /cam}
consumers:
  out: {use: checksum}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.yaml"


def read(path: Path, text: str, *overrides: str) -> Config:
    path.write_text(text, encoding="utf-8")
    return load(path, overrides).config


def mistakes(path: Path, text: str, *overrides: str) -> list[str]:
    """Return the lines of the error, each without the folder."""
    with pytest.raises(ConfigError) as caught:
        read(path, text, *overrides)
    return str(caught.value).replace(f"{path.parent}/", "").split("\n")


def mistake(path: Path, text: str, *overrides: str) -> str:
    (only,) = mistakes(path, text, *overrides)
    return only


# ---- what is read


def test_the_shortest_configuration_has_the_documented_defaults(path: Path) -> None:
    config = read(path, GOOD)
    assert config.source.path == ["data/*.bag"]
    assert (config.chunk_size, config.pool, config.workdir) == (100, 512_000_000, ".streamer")
    timeline = config.timeline
    assert (timeline.source, timeline.rate, timeline.skip, timeline.crop, timeline.end) == (
        *("busiest", None, 0),
        *((0.0, 1.0), "common"),
    )
    head = config.streams["head"]
    assert head.topic == ["/cam"]
    assert (head.clock, head.align, head.tolerance, head.missing, head.gap, head.undecodable) == (
        *("receive", None, None),
        *("error", None, "error"),
    )
    out = config.consumers["out"]
    assert (out.mode, out.every, out.streams, out.recycle.chunks, out.on_failed, out.deadline) == (
        *("lossless", 1, None),
        *(20, "stop", 600 * 10**9),
    )


def test_units_become_exact_numbers(path: Path) -> None:
    text = GOOD.replace("/cam}", "/cam, tolerance: 50 ms, gap: 0.15 s, scale: deg2rad}")
    config = read(path, f"{text}timeline: {{rate: 29.97 Hz}}\npool: 1.5 GiB\n", "consumers.out.deadline=2 min")
    assert config.timeline.rate == Fraction(2997, 100)
    assert config.pool == 3 * 2**29
    head = config.streams["head"]
    assert (head.tolerance, head.gap) == (50_000_000, 150_000_000)
    assert head.scale == pytest.approx(math.pi / 180)
    assert config.consumers["out"].deadline == 120 * 10**9


def test_relative_paths_start_where_the_file_is(path: Path) -> None:
    path.write_text(GOOD, encoding="utf-8")
    assert load(path).base == path.parent


def test_one_topic_or_a_list_of_them_is_a_list(path: Path) -> None:
    assert read(path, GOOD.replace("/cam", "[/a, /b]")).streams["head"].topic == ["/a", "/b"]


# ---- mistakes


def test_an_unknown_key_is_named_with_the_nearest_and_its_line(path: Path) -> None:
    told = mistake(path, GOOD.replace("/cam}", "/cam,\n    tolerence: 50 ms}"))
    assert told == "run.yaml:4: streams.head.tolerence: unknown key; did you mean 'tolerance'?"


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("chunksize: 5", "chunk_size"),
        ("timeline: {form: head}", "from"),
        ("consumers: {out: {recycle: {chunk: 5}}}", "chunks"),
        ("consumers: {out: {opts: {}, evry: 5}}", "every"),
        ("source: {pth: x}", "path"),
    ],
)
def test_the_nearest_key_is_looked_for_where_the_unknown_one_stands(path: Path, key: str, near: str) -> None:
    lines = [line for line in GOOD.splitlines() if not line.startswith((key.partition(":")[0], "  out"))]
    told = mistakes(path, "\n".join([*lines, key]))
    assert any(f"did you mean '{near}'?" in line for line in told)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("episodes: {evry: 3 s}", "episodes.evry: unknown key; did you mean 'every'?"),
        (
            "episodes: {from: {topic: /t, start: go, stopp: x}}",
            "episodes.from.stopp: unknown key; did you mean 'stop'?",
        ),
        ("episodes: {still: {stream: head, below: 1, qq: 2}}", "still.qq: unknown key; known here: stream, below, for"),
    ],
)
def test_keys_of_every_group_are_known(path: Path, text: str, said: str) -> None:
    assert any(said in line for line in mistakes(path, f"{GOOD}{text}\n"))


def test_an_unknown_key_like_no_other_lists_those_that_are_known(path: Path) -> None:
    told = mistake(path, f"{GOOD}zzz: 1\n")
    assert told.startswith("run.yaml:6: zzz: unknown key; known here: source, timeline, chunk_size, ")


def test_a_key_that_stands_twice_is_an_error_with_both_lines(path: Path) -> None:
    assert mistake(path, f"{GOOD}pool: 1 GB\npool: 2 GB\n") == "run.yaml:7: 'pool' stands here twice (first in line 6)"
    told = mistake(path, GOOD.replace("{topic: /cam}", "{topic: /cam, topic: /b}"))
    assert told == "run.yaml:3: 'head.topic' stands here twice (first in line 3)"


def test_several_mistakes_are_all_listed_with_their_lines(path: Path) -> None:
    told = mistakes(path, f"{GOOD}chunk_size: 0\npool: 512\ntimeline: {{end: sometime}}\nsurprise: 1\n")
    assert len(told) == 4
    for number, line in enumerate(("chunk_size", "pool", "timeline.end", "surprise"), 6):
        assert any(found.startswith(f"run.yaml:{number}: ") and line in found for found in told)


def test_a_value_without_its_unit_is_quoted(path: Path) -> None:
    told = mistake(path, GOOD.replace("/cam}", "/cam, tolerance: 50}"))
    assert told.startswith("run.yaml:3: streams.head.tolerance: 50 is not a duration: write a number and its unit")
    assert told.count("50 is") == 1


def test_a_value_out_of_range_is_quoted(path: Path) -> None:
    told = mistake(path, f"{GOOD}chunk_size: -3\n")
    assert told.startswith("run.yaml:6: chunk_size: ")
    assert "should be at least 1, it is -3" in told


@pytest.mark.parametrize("gone", ["source", "streams", "consumers"])
def test_what_is_missing_is_named(path: Path, gone: str) -> None:
    values = {
        "source": "source: {path: a}",
        "streams": "streams: {head: {topic: /a}}",
        "consumers": "consumers: {out: {}}",
    }
    del values[gone]
    assert mistake(path, "\n".join(values.values())).endswith(f"{gone}: it is missing")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("/cam}", "/cam, resize: [640, 0]}", "resize is [width, height] in pixels, both above 0"),
        ("/cam}", "/cam, align: next}", "'nearest', 'previous', 'linear' or 'mean'"),
        ("head:", "grid:", "a stream cannot be called 'grid'"),
        ("head:", "busiest:", "a stream cannot be called 'busiest'"),
        ("checksum}", "checksum, streams: [haed]}", "there is no stream 'haed'; streams: head"),
        ("checksum}", "checksum, mode: latest}", "at least one must be 'mode: lossless'"),
        ("checksum}", "checksum, recycle: {chunks: 0}}", "should be at least 1, it is 0"),
        ("  head: {topic: /cam}", "  {}", "at least 1 entry"),
        ("/cam}", "[]}", "at least 1 entry"),
    ],
)
def test_what_does_not_fit_is_explained(path: Path, old: str, new: str, reason: str) -> None:
    assert reason in mistake(path, GOOD.replace(old, new))


@pytest.mark.parametrize("crop", ["[0.9, 0.1]", "[0.5, 0.5]", "[-0.1, 1]", "[0, 1.1]", "[0, .nan]"])
def test_a_crop_that_is_no_part_of_the_whole_is_an_error(path: Path, crop: str) -> None:
    assert "crop is two fractions between 0 and 1" in mistake(path, f"{GOOD}timeline: {{crop: {crop}}}\n")


def test_one_lossless_consumer_is_enough(path: Path) -> None:
    config = read(path, f"{GOOD}  view: {{mode: latest}}\n")
    assert {name: consumer.mode for name, consumer in config.consumers.items()} == {"out": "lossless", "view": "latest"}


def test_text_that_is_not_yaml_is_an_error_with_its_line(path: Path) -> None:
    assert mistake(path, f"{GOOD}pool: [1\n").startswith("run.yaml:7: not valid YAML: ")


def test_a_value_that_is_not_of_the_tag_it_bears_is_an_error_with_its_line(path: Path) -> None:
    assert mistake(path, f"{GOOD}chunk_size: !!int ten\n").startswith("run.yaml:6: 'ten' is not valid: ")


@pytest.mark.parametrize(("text", "kind"), [("- 1\n- 2\n", "list"), ("word", "str")])
def test_a_file_that_is_no_mapping_is_an_error(path: Path, text: str, kind: str) -> None:
    assert mistake(path, text).endswith(f"should be a mapping (key: value), it is a {kind}; {OFFER}")


def test_an_empty_file_lacks_what_must_be_there(path: Path) -> None:
    assert len(mistakes(path, "")) == 3


def test_a_file_that_is_not_there_is_an_error_that_names_it(path: Path) -> None:
    with pytest.raises(ConfigError, match="the configuration cannot be read: No such file") as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_no_text_is_an_error_with_the_place(path: Path) -> None:
    path.write_bytes(b"pool: \xff\n")
    with pytest.raises(ConfigError, match=r"no text in UTF-8 \(at byte 6\); 'streamer init"):
        load(path)


# ---- names that YAML takes for something else


def test_null_is_the_name_of_a_consumer_wherever_it_stands(path: Path) -> None:
    config = read(path, GOOD.replace("out: {use: checksum}", "null: {use: null}\n  other: {use: ~}"))
    assert list(config.consumers) == ["null", "other"]
    assert [consumer.use for consumer in config.consumers.values()] == ["null", "null"]


def test_keys_are_names_as_they_are_written(path: Path) -> None:
    config = read(path, GOOD.replace("head:", "on:").replace("out:", "7:"))
    assert list(config.streams) == ["on"]
    assert list(config.consumers) == ["7"]


# ---- anchors


def test_an_alias_repeats_what_its_anchor_says(path: Path) -> None:
    config = read(path, GOOD.replace("{topic: /cam}", "&cam {topic: /cam}\n  wrist: *cam"))
    assert config.streams["wrist"] == config.streams["head"]


def test_a_merge_takes_what_the_mapping_does_not_say_itself(path: Path) -> None:
    text = GOOD.replace("{topic: /cam}", "&cam {topic: /cam, resize: [64, 48]}\n  wrist: {<<: *cam, topic: /wrist}")
    config = read(path, text)
    assert config.streams["wrist"].topic == ["/wrist"]
    assert config.streams["wrist"].resize == (64, 48)


def test_an_alias_of_itself_is_an_error(path: Path) -> None:
    with pytest.raises(ConfigError):
        read(path, f"{GOOD}types: &types [*types]\n")


# ---- the environment


def test_a_variable_is_substituted_and_typed_as_if_it_stood_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{GOOD}chunk_size: ${{STREAMER_N:-50}}\npool: ${{STREAMER_POOL:-64}} MB\n"
    monkeypatch.delenv("STREAMER_N", raising=False)
    config = read(path, text)
    assert (config.chunk_size, config.pool) == (50, 64_000_000)
    assert load(path).values["chunk_size"] == 50
    monkeypatch.setenv("STREAMER_N", "7")
    monkeypatch.setenv("STREAMER_POOL", "1")
    config = read(path, text)
    assert (config.chunk_size, config.pool) == (7, 1_000_000)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${STREAMER_N:-50}", 50),
        ('"${STREAMER_N:-50}"', "50"),
        ("'${STREAMER_N:-50}'", "50"),
        ("${STREAMER_N:-true}", True),
        ("${STREAMER_N:-0.5}", 0.5),
        ("${STREAMER_N:-}", None),
        ('"${STREAMER_N:-}"', ""),
        ("${STREAMER_N:-a}/${STREAMER_N:-b}", "a/b"),
        ("$STREAMER_N", "$STREAMER_N"),
    ],
)
def test_what_stands_in_quotes_stays_text(
    path: Path, monkeypatch: pytest.MonkeyPatch, written: str, value: object
) -> None:
    monkeypatch.delenv("STREAMER_N", raising=False)
    path.write_text(
        f"{GOOD}    options:\n      n: {written}\n".replace("{use: checksum}", "\n    use: checksum"), "utf-8"
    )
    found: Any = load(path).values["consumers"]["out"]["options"]["n"]
    assert found == value
    assert type(found) is type(value)


def test_the_value_of_a_variable_is_not_substituted_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMER_N", "${STREAMER_N}")
    assert read(path, f"{GOOD}workdir: ${{STREAMER_N}}\n").workdir == "${STREAMER_N}"


def test_a_variable_that_the_environment_lacks_is_an_error_with_its_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STREAMER_N", raising=False)
    told = mistake(path, f"{GOOD}pool: ${{STREAMER_N}} MB\n")
    assert told == "run.yaml:6: the environment has no STREAMER_N; '${STREAMER_N:-…}' gives a default"


# ---- overrides


def test_an_override_sets_what_it_names_and_is_typed(path: Path) -> None:
    config = read(
        path, GOOD, "chunk_size=50", "streams.head.resize=[64, 48]", "timeline.rate=10 Hz", "streams.arm.topic=/arm"
    )
    assert config.chunk_size == 50
    assert config.streams["head"].resize == (64, 48)
    assert config.streams["head"].topic == ["/cam"]
    assert config.timeline.rate == 10
    assert list(config.streams) == ["head", "arm"]


def test_of_overrides_the_last_counts_and_only_the_first_equals_sign_divides(path: Path) -> None:
    config = read(path, GOOD, "workdir=a", "workdir=b=c")
    assert config.workdir == "b=c"


def test_a_mistake_in_an_override_is_said_to_be_on_the_command_line(path: Path) -> None:
    assert mistake(path, GOOD, "pool=5").startswith("the command line: pool: 5 is not a size")
    told = mistake(path, GOOD, "streams.head.tolerence=5 ms")
    assert told == "the command line: streams.head.tolerence: unknown key; did you mean 'tolerance'?"


@pytest.mark.parametrize("override", ["chunk_size", "=5", ""])
def test_what_is_no_override_is_quoted_with_an_example(path: Path, override: str) -> None:
    told = mistake(path, GOOD, override)
    assert told == f"{override!r} is not an override: write key.path=value, such as chunk_size=50"


def test_nothing_lies_below_a_plain_value(path: Path) -> None:
    assert "'chunk_size' is no group of settings" in mistake(path, f"{GOOD}chunk_size: 5\n", "chunk_size.big=5")
    assert "'path' is no group of settings" in mistake(path, GOOD, "source.path.0=x")


def test_an_override_that_is_no_yaml_is_quoted(path: Path) -> None:
    assert mistake(path, GOOD, "pool=[1") == (
        "'pool=[1': the value is not valid YAML; a text with such signs takes quotes: pool='\"[1\"'"
    )


def test_a_date_is_the_text_as_which_it_is_written(path: Path) -> None:
    config = read(path, GOOD.replace("checksum", "checksum, options: {out: 2024-01-31}"), "workdir=2024-02-01")
    assert config.consumers["out"].options == {"out": "2024-01-31"}
    assert config.workdir == "2024-02-01"


def test_recycling_is_switched_off_by_a_word_and_by_no_other(path: Path) -> None:
    never = read(path, GOOD.replace("checksum}", "checksum, recycle: never}")).consumers["out"].recycle
    assert (never.chunks, never.memory, never.growth) == (None, None, None)
    by_memory = read(path, GOOD.replace("checksum}", "checksum, recycle: {memory: 1 GB}}")).consumers["out"].recycle
    assert (by_memory.chunks, by_memory.memory) == (None, 10**9)
    with pytest.raises(ConfigError, match="recycle"):
        read(path, GOOD.replace("checksum}", "checksum, recycle: sometimes}"))
