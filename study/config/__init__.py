"""From a sweep's YAML and the user's overrides to checked, typed settings."""

from study.config.compose import as_yaml, load
from study.config.names import launcher_names, sweep_folders, sweep_names
from study.settings import LauncherSettings, SweepSettings, TaskSettings

__all__ = [
    "LauncherSettings",
    "SweepSettings",
    "TaskSettings",
    "as_yaml",
    "launcher_names",
    "load",
    "sweep_folders",
    "sweep_names",
]
