"""Kinds of values of the configuration, and what every section of it is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Norm = Literal["none", "gn", "bn"]
Fraction = Annotated[float, Field(ge=0, le=1)]
# Everything has an upper bound, far beyond all use: a file must not ask for a network without end.
Positive = Annotated[int, Field(gt=0, lt=2**32)]
Count = Annotated[int, Field(ge=0, lt=2**32)]
Rate = Annotated[float, Field(ge=0, le=1e6)]
Factor = Annotated[float, Field(gt=0, le=1e6)]
Width = Annotated[int, Field(gt=0, le=8192)]
Layers = Annotated[int, Field(gt=0, le=64)]
Pixels = Annotated[int, Field(gt=0, le=4096)]
RoICount = Annotated[int, Field(gt=0, le=10_000_000)]  # the most that are taken of what there is


class Section(BaseModel):
    """A part of the configuration: immutable, and closed to keys that it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False, str_max_length=4096
    )
