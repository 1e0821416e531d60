"""Processes and hardware: which ranks run together, how they agree, and how one that fails or hangs ends the others."""
