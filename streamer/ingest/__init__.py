"""Folders in which recordings appear → datasets, for months: find them, queue them, run their pipelines."""
