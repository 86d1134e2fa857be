"""Make objects from a config; errors of their arguments name the place in the config."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import Container, OmegaConf

from attnflow.errors import ArgumentError

__all__ = ["Part", "at", "make"]


class Part(partial):
    """A class or a function that a config names, with options, to be called later.

    Attributes:
        place: where it stands in the config.
    """

    place = ""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        with at(self.place):
            return super().__call__(*args, **kwargs)


def make(config: Any, place: str, **kwargs: Any) -> Any:
    """Make the object that ``config`` describes; None for None.

    Args:
        config: in plain containers, or Hydra's.
        place: where it stands in the whole config.
        kwargs: further arguments of the object.

    Raises:
        ArgumentError: a value that the object, or one inside it, does not take; it says where.
    """
    if isinstance(config, Container):
        config = OmegaConf.to_container(config, resolve=True)
    with at(place):
        return _placed(instantiate(config, **kwargs, _convert_="all"), place)


@contextmanager
def at(place: str) -> Iterator[None]:
    """Tell the errors of arguments that are raised within with the place of their owner."""
    try:
        yield
    except ArgumentError as error:
        _place(error, place)
        raise
    except InstantiationException as error:
        said, _, key = str(error).partition("full_key: ")
        where = _joined(place, key)
        if isinstance(error.__cause__, ArgumentError):
            _place(error.__cause__, where)
        raise InstantiationException(f"{said.rstrip()}\nfull_key: {where}") from error.__cause__


def _placed(made: Any, place: str) -> Any:
    """Return what was made, with its place in every ``functools.partial`` in it."""
    if isinstance(made, partial):
        options = {name: _placed(value, f"{place}.{name}") for name, value in made.keywords.items()}
        part = Part(made.func, *made.args, **options)
        part.place = place
        return part
    if isinstance(made, list):
        return [_placed(each, f"{place}.{number}") for number, each in enumerate(made)]
    return made


def _place(error: ArgumentError, place: str) -> None:
    """Put ``place`` before what an error knows of its place, unless it is that already."""
    if not error.place.startswith(place):
        error.place = _joined(place, error.place)


def _joined(*keys: str) -> str:
    return ".".join(key for key in keys if key)
