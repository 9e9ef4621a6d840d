"""Export: a model carried away as a file that runs elsewhere, with proof that it gives the same answers."""
