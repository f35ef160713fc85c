"""Tests of `streamer.bench`: the real command on real recordings."""
