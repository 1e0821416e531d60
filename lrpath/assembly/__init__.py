"""The one place where configuration becomes objects: `project` without torch, `factory` with it."""
