"""Puts into a wheel, as `study/shipped`, what stands at the root of a checkout: see `study/paths.py`."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = {"sweeps": "**/*.yaml", "results/reference": "**/plan.json"}
"""Folders, and which of their files an installed study needs."""


class BuildWithShipped(build_py):
    """As usual, and copies what is SHIPPED. An editable install reads it where it is."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for folder, pattern in SHIPPED.items():
            for file in sorted(Path(folder).glob(pattern)):
                target = Path(self.build_lib, "study", "shipped", Path(folder).name, file.relative_to(folder))
                self.mkpath(str(target.parent))
                self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": BuildWithShipped})
