"""Rendered faces: a head that can be anybody, show any expression, and be photographed badly. numpy and Pillow only."""
