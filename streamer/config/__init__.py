"""A YAML file, the environment and the command line → a checked `Config`.

`model` says which settings exist and their defaults; `load` reads the file and turns every mistake
into a message with its line.
"""
