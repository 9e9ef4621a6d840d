"""Classify: find the top classes of one photo or of every photo of a gallery."""
