"""Errors: typed, with a remedy, and whole after a trip through a worker process."""

import inspect
import pickle

import pytest

from outweigh.core import errors
from outweigh.core.errors import OutweighError

CLASSES = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, OutweighError) and cls not in (OutweighError, errors.MeasurementError)
]
SAMPLES = {"int": 3, "str": "text", "tuple[str, ...]": ("near", "by")}


def made(cls):
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return cls(*[SAMPLES[str(p.annotation)] for p in parameters])


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_every_error_survives_pickling_with_all_its_fields(cls):
    error = made(cls)

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is cls
    assert copy.args == error.args
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_every_error_ends_with_its_remedy_and_has_a_documented_exit_code(cls):
    assert "remedy" in inspect.signature(cls.__init__).parameters
    assert made(cls).remedy in str(made(cls))
    assert cls.exit_code in (2, 3, 4)
