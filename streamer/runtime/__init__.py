"""The two kinds of child process: the reader, and the worker that runs one generation of a consumer.

`child` is how both begin and end, `channel` their line to the supervisor, `job` what they are asked
for. The reader: `prepare` joins the stages, `loader` fills slots, `about` tells what was prepared.
The worker: `plugin` finds and constructs the consumer.
"""
