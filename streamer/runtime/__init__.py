"""The two kinds of child process: the reader and the worker that runs a consumer.

`child` is how both begin, `channel` their line to the supervisor, `loader` the reader's threads.
"""
