"""Compares releases, verifies studies, and fits laws of the loss; numbers only, without torch."""
