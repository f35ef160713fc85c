"""Tests of `streamer.inspect`: what a person wants to know before a run, as library functions."""
