"""What lies in a recording → where its episodes begin and end. Pure: stamps, values and texts in, instants out."""

from streamer.episodes.conditions import Condition
from streamer.episodes.cut import Cut, Problem, Span, number_spans
from streamer.episodes.markers import Event, between_markers, fired
from streamer.episodes.stretches import between_gaps, between_rests, every, speeds, trimmed
from streamer.episodes.table import read_windows, write_windows
from streamer.episodes.tasks import Tasks, read_tasks

__all__ = [
    "Condition",
    "Cut",
    "Event",
    "Problem",
    "Span",
    "Tasks",
    "between_gaps",
    "between_markers",
    "between_rests",
    "every",
    "fired",
    "number_spans",
    "read_tasks",
    "read_windows",
    "speeds",
    "trimmed",
    "write_windows",
]
