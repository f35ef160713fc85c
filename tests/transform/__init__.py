"""Tests of the steps of a map."""
