"""How an answer is told in /openapi.json, while it is sent as it is."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import definition_reference_schema, definitions_schema

REF = "#/components/schemas/{model}"


def ref(model: type[BaseModel]) -> dict[str, Any]:
    """Points at a model's schema in the description, which has to have it from elsewhere (`openapi._SCHEMAS`)."""
    return {"$ref": REF.format(model=model.__name__)}


class Schema(BaseModel):
    """What an answer looks like. Built when the description is first asked for, so that no replica starts later."""

    model_config = ConfigDict(defer_build=True)


class Shown:
    """Annotates a type: its JSON schema is that of `model`, and nothing else of it changes."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """For Pydantic."""
        told = TypeAdapter(self._model).core_schema
        if "ref" in told:  # else it holds definitions already
            told = definitions_schema(definition_reference_schema(told["ref"]), [told])  # not told in line
        return handler(told)


def shown(model: type[BaseModel]) -> Any:
    """The `response_model` of a page that answers a dictionary: sent as one, described as `model`."""
    return Annotated[dict[str, Any], Shown(model)]


def at_times(description: str) -> Any:
    """A field that is not in every answer; its type is what it has where it is there."""
    return Field(None, description=description, json_schema_extra=_without_default)


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]
