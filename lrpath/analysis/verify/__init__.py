"""Compares a study on disk with what it claims: plans, states, forks, tables and ledger. Reads only; no torch."""
