"""Readers: from files as their authors publish them to a `FaceSet`."""
