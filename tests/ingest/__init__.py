"""Tests of `streamer.ingest`."""
