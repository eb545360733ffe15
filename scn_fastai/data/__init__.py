"""Faces and labels: the samples table, readers, noise and the loader."""
