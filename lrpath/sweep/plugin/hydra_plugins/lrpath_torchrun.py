"""Hydra takes launchers from this package only; projects share it, so no folder of it has an `__init__.py`."""

from lrpath.sweep import launcher


class TorchrunLauncher(launcher.TorchrunLauncher):
    """What `hydra/launcher=torchrun` names."""
