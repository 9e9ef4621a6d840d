"""Defaults that the command line names before anything heavy is imported."""

DEFAULT_SAMPLE_ROWS = 20_000  # photos that UMAP is fitted to in a map of a large collection
