"""The settings of ``quality``: limits by which each episode is judged, and what becomes of one that fails."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from streamer.config.kinds import Duration, Rate, Share


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StillLimit(_Settings):
    """How much of an episode may be without a movement."""

    share: Share = Field(description="more of an episode that is still is too much")
    stream: str | None = Field(None, description="whose movement counts: a picture or a vector; all where left out")
    below: float = Field(0.01, gt=0, description="a vector is still while no element changes faster than this a second")


def _still(value: object) -> object:
    """Take a share alone for that of all streams."""
    return {"share": value} if isinstance(value, str) else value


Still = Annotated[
    StillLimit,
    BeforeValidator(_still),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*%\s*$|\$\{", "examples": ["80 %"]},
                {**StillLimit.model_json_schema(), "description": "with the stream whose movement counts"},
            ]
        }
    ),
]


class LimitsConfig(_Settings):
    """Limits of one stream, in place of the general ones; null for none."""

    max_gap: Duration | None = Field(None, description="a longer pause between two messages is too long")
    max_held: Share | None = Field(None, description="more of its frames that show nothing new are too many")
    black: float | None = Field(None, ge=0, description="a picture whose mean brightness (0 to 255) is below is black")
    blur: float | None = Field(None, ge=0, description="a picture is blurred if the variance of its Laplacian is below")


class QualityConfig(LimitsConfig):
    """Limits by which each episode is judged; of a recording that is not cut, the whole of it."""

    still: Still | None = Field(None, description="more of an episode in which nothing moves is too much")
    max_bad: Share = Field(0.1, description="more of a stream's pictures that are black or blurred are too many")
    on_low: Literal["keep", "flag", "drop"] = Field(
        "flag", description="what becomes of an episode beyond a limit: drop leaves it out of all outputs"
    )
    sample: Rate = Field(
        Fraction(5),
        json_schema_extra={"default": "5 Hz"},
        description="how many frames a second are looked at for black, blur and still",
    )
    streams: dict[str, LimitsConfig] = Field(default_factory=dict, description="limits of single streams")

    def named(self) -> list[str]:
        """Return the streams that are named."""
        return [*self.streams, *([self.still.stream] if self.still and self.still.stream else [])]
