"""Positions, leases and slots → what to load and whom to send it to next: the table of the reader.

Pure: no clock, no socket, no memory. Events go in by method calls, `step` returns what to do. Its
promises, whatever the order of events:

- a lossless consumer is sent every frame that it wants, from its cursor on, in order, each once in a
  generation; a chunk's end is announced behind the last frame of the chunk;
- a slot is given to another frame only when nobody holds a lease on it and no load reads from it;
- frames that nobody holds are a cache, dropped only for the active consumer that is furthest behind,
  so while any active consumer can make progress, the table does; one that crashed holds nobody up, one
  whose process is replaced as planned is waited for;
- a ``latest`` consumer gets the newest frame when it has none, and never makes others wait;
- a frame that is kept beyond its callback is lent: pinned like any other, and counted against the credit.
"""

from streamer.delivery.actions import Action, End, EndChunk, Grow, HandOver, Load, Send
from streamer.delivery.table import Delivery

__all__ = ["Action", "Delivery", "End", "EndChunk", "Grow", "HandOver", "Load", "Send"]
