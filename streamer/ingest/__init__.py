"""Folders in which recordings appear → datasets, for months: find, queue, stream and file each recording."""
