"""Runs the paths of a plan with Lightning, and keeps the states that the plan needs."""
