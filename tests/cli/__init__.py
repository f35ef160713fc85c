"""Tests of `streamer.cli`: the real command, as a person types it."""
