"""The one place where configuration becomes objects: `project` without torch, `workshop` with it."""
