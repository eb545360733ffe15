"""Faces with labels from search words, as the paper's WebEmotion was made: from videos that lie on this machine."""
