"""Pictures of everyday things, drawn from nothing but a seed, each with its label and its exact mask."""
