"""Plan, train, compare and release model versions on learning-rate paths (arXiv 2410.04103)."""

__version__ = "0.1.0"
