"""Drawn pictures of everyday things, generated from a seed alone, each with its label and its exact mask."""
