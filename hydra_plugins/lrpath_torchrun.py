"""Hydra takes launchers from this package only; it is shared with other projects and so has no `__init__.py`."""

from lrpath.sweep import launcher


class TorchrunLauncher(launcher.TorchrunLauncher):
    """What `hydra/launcher=torchrun` names."""
