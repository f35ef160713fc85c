"""A recording → how long each way of reading it takes, and how much memory it needs and keeps.

Every method runs in a fresh process and calls back with the same frames:

    full      plain rosbags: load everything, align, call back
    chunked   plain rosbags, by the book: scan by reading every message, then a chunk's window at a time
    process   `streamer.open`: our reading, without any other process
    stream    the command ``streamer run``: supervisor, reader, consumer
    limit     bare loops over the bytes of the plan: what disk, memory and codecs allow
"""

METHODS = ("full", "chunked", "process", "stream", "limit")
