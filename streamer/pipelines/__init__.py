"""Many recordings: each is a unit of work with a process and a work folder of its own.

`run` is a whole run of a configuration and `many` its loop. A `unit` runs here (`process`) or in a Ray `cluster`;
`retry` is the pure rule for what follows its end; `merge` puts together what the recordings' outputs share.
"""
