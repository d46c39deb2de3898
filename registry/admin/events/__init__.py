"""Structure events as people read them."""
