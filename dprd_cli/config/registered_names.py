"""Types of the configuration's fields that name something of a `Registry`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from dprd_cli.config.registry import augmentation, backbone, fusion, logger, neck, parts

BackboneName = Annotated[str, AfterValidator(backbone.check), WithJsonSchema(backbone.schema())]
NeckName = Annotated[str, AfterValidator(neck.check), WithJsonSchema(neck.schema())]
PartsName = Annotated[str, AfterValidator(parts.check), WithJsonSchema(parts.schema())]
FusionName = Annotated[str, AfterValidator(fusion.check), WithJsonSchema(fusion.schema())]
AugmentationName = Annotated[str, AfterValidator(augmentation.check), WithJsonSchema(augmentation.schema())]
LoggerName = Annotated[str, AfterValidator(logger.check), WithJsonSchema(logger.schema())]
