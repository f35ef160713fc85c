"""The settings of ``episodes``: how one recording is cut into many."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from streamer.config.kinds import Duration

_WAYS = ("from", "windows", "gap", "still", "every")


def _condition(value: object) -> object:
    """Take what YAML reads as a truth value or a number for a condition on one."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


ConditionText = Annotated[
    str,
    BeforeValidator(_condition),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}),
]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MarkersConfig(_Settings):
    """Messages that begin and end episodes."""

    topic: str = Field(description="the topic of the markers")
    field: str = Field("data", description="the field that is looked at, such as data or buttons[0]")
    start: ConditionText = Field(
        description="what begins an episode: a glob for texts (start*), true, 1 or a comparison (> 0.5) for numbers"
    )
    stop: ConditionText | None = Field(None, description="what ends it; the next start where left out")
    discard: ConditionText | None = Field(None, description="what makes an episode that has begun none")
    task: str = Field("", description="where its task is told: a field of the start's message, or a topic (/…)")
    label: str = Field("", description="where its label is told: a field of the stop's message, or a topic (/…)")


class StillConfig(_Settings):
    """A rest of the robot, which ends an episode."""

    stream: str = Field(description="a vector stream, such as the joints' positions")
    below: float = Field(gt=0, description="it rests while no element changes faster than this a second")
    lasting: Duration = Field(10**9, alias="for", description="how long a rest is that ends an episode")


class TrimConfig(_Settings):
    """Ends of an episode in which nothing moves, which are cut off."""

    still: str = Field(description="a vector stream, such as the joints' positions")
    below: float = Field(gt=0, description="it rests while no element changes faster than this a second")


class EpisodesConfig(_Settings):
    """How a recording is cut into episodes, each with a timeline, frames from 0 and outputs of its own."""

    source: MarkersConfig | None = Field(None, alias="from", description="messages mark where they begin and end")
    windows: str | None = Field(None, description="a table (CSV) with the columns recording, start, end, task, label")
    gap: Duration | None = Field(None, ge=1, description="a longer pause of the timeline's stream ends one")
    still: StillConfig | None = Field(None, description="a rest of the robot ends one")
    every: Duration | None = Field(None, ge=10**6, description="all are this long, but for the last")
    min: Duration = Field(0, description="shorter ones are left out")
    trim: TrimConfig | None = Field(None, description="idle ends are cut off")
    unfinished: Literal["drop", "keep", "error"] = Field(
        "drop", description="what to do with an episode that is started twice or never stopped"
    )
    task: str = Field("", description="the task of episodes that are told none of their own")
    task_file: str | None = Field(
        None,
        description="a text, YAML or CSV that tells tasks and labels; with {recording} it lies beside the recording",
    )

    @model_validator(mode="after")
    def _one_way(self) -> EpisodesConfig:
        given = [self.source, self.windows, self.gap, self.still, self.every]
        found = [way for way, value in zip(_WAYS, given, strict=True) if value is not None]
        if len(found) != 1:
            msg = f"say in exactly one way where episodes begin: {', '.join(_WAYS)}"
            raise ValueError(msg)
        return self

    def streams(self) -> list[str]:
        """Return the streams whose movements are looked at."""
        return [*([self.still.stream] if self.still else []), *([self.trim.still] if self.trim else [])]
