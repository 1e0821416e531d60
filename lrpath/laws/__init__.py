"""Laws of the loss: what they say, how they are fitted to curves, and what they predict and advise; no torch."""
