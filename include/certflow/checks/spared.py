"""What Great Expectations imports and we never use is spared: imported only if somebody asks it for something.

Imported before Great Expectations. altair and scipy.stats serve three expectations about distributions, which name no
line and can be no rule of ours: 56 of the 148 MB it takes, and a second of four.
"""

import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


class _Spared(ModuleType):
    """Stands for a module until something of it is asked for that every module has not."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever a module holds)
        if name.startswith("__"):  # who walks over all modules asks for such
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
            vars(self).update(vars(import_module(self.__name__)))
        return getattr(sys.modules[self.__name__], name)


def _spare(name: str) -> None:
    if name in sys.modules or (spec := find_spec(name)) is None:
        return
    stand_in = sys.modules[name] = _Spared(name)
    vars(stand_in).update(vars(module_from_spec(spec)))
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, stand_in)


for _name in ("altair", "scipy.stats"):
    with suppress(ModuleNotFoundError):  # a release of Great Expectations that no longer brings it along
        _spare(_name)
