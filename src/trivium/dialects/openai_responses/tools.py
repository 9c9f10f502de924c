"""Tools that the caller runs itself although they are no plain functions: elsewhere functions stand in for them.

A *custom* tool takes one free text (`apply_patch` of coding agents is one), a *namespace* groups tools under a name.
Calls of such a function go back to the caller as calls of what it offered.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from trivium.dialects.common import Json
from trivium.dialects.request import given
from trivium.types.message import ToolCall
from trivium.types.request import Request, Tool

_TEXT = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


class OwnTools(list[Json]):
    """Tools that are no functions, as the caller wrote them; the `extra` of no other dialect holds any."""


class StandIn(msgspec.Struct, frozen=True):
    """What a function stands for: a tool of this type and name, in a namespace perhaps."""

    type: str
    name: str
    namespace: str | None = None


def flat(name: str, namespace: str | None) -> str:
    """The name of a tool of a namespace where there is none."""
    return f"{namespace.rstrip('_')}__{name}" if namespace else name


def free_tool(name: str, description: str | None, form: Json | None) -> Tool:
    """The function that stands for a custom tool; the grammar of its text is described, since nobody can enforce it."""
    told = [description or ""]
    if form and "definition" in form:
        told.append(f"The input must match this grammar ({form.get('syntax')}):\n{form['definition']}")
    return Tool(name=name, description="\n\n".join(filter(None, told)) or None, parameters=_TEXT)


def stand_ins(request: object) -> dict[str, StandIn]:
    """By its name, what each function of a request of this dialect stands for, where that is not a function."""
    kept = request.extra.values() if isinstance(request, Request) else ()
    return {
        flat(each["name"], space): StandIn(each["type"], each["name"], space)
        for tools in kept
        if isinstance(tools, OwnTools)
        for tool in tools
        for space, inner in [_inner(tool)]
        for each in inner
        if "name" in each
    }


def _inner(tool: Json) -> tuple[str | None, list[Json]]:
    """A namespace and the tools in it; none of its own for a custom tool."""
    if tool["type"] == "namespace":
        return tool["name"], cast("list[Json]", tool.get("tools") or [])
    return None, [tool] if tool["type"] == "custom" else []


def call_item(call: ToolCall, found: StandIn | None, identity: str, status: str) -> Json:
    """A call as the output item that its caller knows; one that was cut short is none that anybody could run."""
    found = found or StandIn("function", call.name)
    known = {"call_id": call.id, "name": found.name, **given(namespace=found.namespace)}
    if found.type == "custom" and status != "incomplete":
        return {"type": "custom_tool_call", "id": f"ctc_{identity}", **known, "input": free_text(call.arguments)}
    told = {"arguments": call.arguments or "{}", "status": status}
    return {"type": "function_call", "id": f"fc_{identity}", **known, **told}


def wrapped(text: str) -> str:
    """A custom tool's free text as a function's arguments."""
    return msgspec.json.encode({"input": text}).decode()


def free_text(arguments: str) -> str:
    """The free text in a function's arguments; what a model wrote that is no such object counts as the text itself."""
    try:
        value: Any = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments
    text = cast("Json", value).get("input") if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments
