"""Folders that recordings appear in → datasets, for months, and a page on which a person sees what happened."""
