"""Compares a study on disk with its plans: paths, states, data consumed, tables and ledger. Reads only; no torch."""
