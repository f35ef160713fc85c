"""Tests of the suite for plug-in authors."""
