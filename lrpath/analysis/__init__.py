"""Compares releases; numbers only, without torch."""
