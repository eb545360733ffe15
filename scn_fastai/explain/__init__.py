"""Which pixels a network's alpha and its classes rest on; the only room that imports Captum."""
