"""A function or class of the user's, named ``module:name`` → a step."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from streamer.errors import ConfigError, DecodeError
from streamer.transform.base import Step, description, shape_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from streamer.records import Spec


@dataclass(frozen=True, slots=True)
class Own(Step):
    """``function(array) -> array``: asked once with zeros for its shape, which each sample is then held against.

    Where the number of samples' rows varies the result may have any number of rows up to the array's own. The function
    may have ``names``, which are then the result's elements, and must not change the array it is given.
    """

    name: ClassVar[str] = "use"
    use: str
    function: Callable[[NDArray[Any]], Any] = field(compare=False, repr=False)
    result: Spec | None = None
    code: str = ""  # a digest of its source text: where that changes, the step does

    @property
    def label(self) -> str:
        """Where the function is."""
        return self.use

    def probe(self, spec: Spec) -> Spec:
        """Call it with zeros."""
        dtype = np.dtype(spec.dtype)
        array = np.zeros(spec.shape, dtype)
        array.setflags(write=False)
        try:
            found = np.asarray(self.function(array))
        except Exception as error:
            msg = f"{self.use} fails with {shape_text(spec)} of zeros: {type(error).__name__}: {error}"
            raise ConfigError(msg) from error
        if found.dtype.kind not in "biufV" or found.dtype.hasobject or found.ndim == 0:
            msg = f"{self.use} should return an array of numbers, it returns {type(found).__name__} of {found.dtype}"
            raise ConfigError(msg)
        if found.ndim > 1 and len(spec.shape) == 1 and dtype.names is None and found.dtype != np.uint8:
            msg = f"{self.use} makes an array of {found.shape} of a vector, which is none: return it flat, or a picture"
            raise ConfigError(msg)
        names = tuple(map(str, getattr(self.function, "names", ()) or ()))
        if names and (found.ndim != 1 or len(names) != len(found)):
            msg = f"{self.use} has {len(names)} names for an array of {found.shape}"
            raise ConfigError(msg)
        kept = spec.names if found.shape == spec.shape else ()
        variable = spec.variable and found.shape[:1] == spec.shape[:1]
        described = spec.dtype if found.dtype == dtype else found.dtype.str
        if found.dtype != dtype and found.dtype.names:
            described = description(found.dtype)
        return replace(spec, shape=found.shape, dtype=described, variable=variable, names=names or kept, unit="")

    def bound(self, spec: Spec) -> Step:
        """Return the step with the result to hold samples against."""
        return replace(self, result=self.probe(spec))

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        """Call it, and check what it returns."""
        try:
            found = np.asarray(self.function(array))
        except Exception as error:
            msg = f"{self.use} fails: {type(error).__name__}: {error}"
            raise DecodeError(msg) from error
        wanted = self.result
        if wanted is not None:
            rows = slice(1, None) if wanted.variable else slice(None)
            fits = found.shape[rows] == wanted.shape[rows] and found.dtype == np.dtype(wanted.dtype)
            if not fits or (wanted.variable and len(found) > wanted.shape[0]):
                msg = f"{self.use} returns {found.dtype} {found.shape} where it promised {wanted.dtype} {wanted.shape}"
                raise DecodeError(msg)
        return found


def load_own(use: str, options: dict[str, Any]) -> Step:
    """Load what ``module:name`` names; a class is made with ``options``.

    Raises:
        ConfigError: it is not there, cannot be called, or does not take the options.

    """
    module, _, name = use.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        msg = f"{use!r} cannot be loaded: {error}"
        raise ConfigError(msg) from error
    if isinstance(found, type):
        try:
            found = found(**options)
        except TypeError as error:
            msg = f"{use!r} does not take {options!r}: {error}"
            raise ConfigError(msg) from error
    elif options:
        msg = f"{use!r} is a function of an array and takes no options, which {', '.join(options)} would be"
        raise ConfigError(msg)
    if isinstance(found, Step):
        return found
    if not callable(found):
        msg = f"{use!r} should be a function of an array, it is {type(found).__name__}"
        raise ConfigError(msg)
    return Own(use, found, code=_digest(found))


def _digest(found: object) -> str:
    """Return a digest of the text of a function, or of an object's class; empty where there is no text."""
    try:
        text = inspect.getsource(found if inspect.isroutine(found) else type(found))
    except (OSError, TypeError):
        return ""
    return sha256(text.encode()).hexdigest()
