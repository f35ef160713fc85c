"""A path → an open recording: its topics, where every message lies, and any message on request.

`find` turns patterns into paths; `source` opens a path; `ros1`, `mcap` and `sqlite` each know one
file format; `payload` is a message that has not been read yet; `types` knows the message types.
"""
