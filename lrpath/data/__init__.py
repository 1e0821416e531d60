"""Tokens as a function of position: sources, the store on disk, the order, and the batches of an update."""
