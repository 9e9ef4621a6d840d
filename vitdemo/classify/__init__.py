"""Classify: the top classes of one photo or of a gallery."""
