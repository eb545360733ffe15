"""How well a score tells wrong or uncertain samples from the others."""
