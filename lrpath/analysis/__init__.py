"""What finished runs say: comparison of releases, loss laws, their fits and the advice drawn from them; no torch."""
