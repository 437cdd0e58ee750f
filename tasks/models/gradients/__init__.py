"""Norms of each item's own gradient, of a whole batch at once."""
