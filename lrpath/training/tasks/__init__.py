"""Tasks of EleutherAI's harness that lrpath brings: a file for each, and Python that makes its documents."""
