"""Whole experiments: recipes by name, one training from faces to a summary, grids of trainings."""
