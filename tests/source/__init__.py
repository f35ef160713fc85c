"""Tests of `source`."""
