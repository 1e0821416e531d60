"""lrpath in Python: an experiment plans and trains, a study reads what it left; `lrpath` itself has the names."""
