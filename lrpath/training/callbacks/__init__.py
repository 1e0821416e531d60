"""The Lightning callbacks of one fit. `PathTrainer` makes them, and says why they come in their order."""
