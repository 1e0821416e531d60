"""Plans of model versions as trees of learning-rate paths; standard library only, starts in milliseconds."""
