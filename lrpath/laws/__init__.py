"""Laws of the loss: what they say, how they are fitted to curves, and what they foretell and advise; no torch."""
