"""The typed schema of conf/, and how plain values become it."""
