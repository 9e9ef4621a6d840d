"""Export: write a model as a file that runs elsewhere, with proof that it gives the same answers."""
