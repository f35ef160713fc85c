"""Tests of `supervisor`."""
