"""Sweeps (`lrpath.train -m`): jobs that know of each other, and ranks of its own for each job."""

from lrpath.sweep.plans import KeepPlans

__all__ = ["KeepPlans"]
