"""``streamer schema``: the JSON Schema of a configuration."""

from __future__ import annotations


def schema() -> None:
    """Print the JSON Schema of the configuration, for editors.

    An editor that knows YAML schemas completes keys and underlines mistakes in a file that begins with
    "# yaml-language-server: $schema=schema.json".

    Example: streamer schema > schema.json
    """
    from streamer.config.schema import schema_text

    print(schema_text(), end="")
