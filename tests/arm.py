"""Azure's template language, as much of it as deploy/azure uses: a template and its parameters make the resources that Azure would be sent.

Stricter than Azure: what is declared and not used, or used and not declared, is refused, as is a function that is not here.
"""

from __future__ import annotations

import base64
import re
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

_WORDS: Final = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>\d+)|(?P<name>[A-Za-z]\w*)|(?P<mark>[(),.]))")


class Wrong(Exception):
    """The template cannot be deployed; the message says what is wrong with it."""


@dataclass
class Call:
    """A function, what it is given, and the properties that are taken of what it gives."""

    name: str
    given: list[Any]
    path: list[str] = field(default_factory=list)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def whole(self) -> Any:
        parsed = self._value()
        if self._text[self._at :].strip():
            raise Wrong(f"{self._text}: what is {self._text[self._at :]!r}?")
        return parsed

    def _next(self) -> tuple[str, str]:
        found = _WORDS.match(self._text, self._at)
        if found is None or found.lastgroup is None:
            raise Wrong(f"{self._text}: what is {self._text[self._at :]!r}?")
        self._at = found.end()
        return found.lastgroup, found[found.lastgroup]

    def _peek(self) -> str:
        return self._text[self._at :].lstrip()[:1]

    def _value(self) -> Any:
        kind, word = self._next()
        if kind == "text":
            return word[1:-1].replace("''", "'")
        if kind == "number":
            return int(word)
        if kind != "name" or self._next() != ("mark", "("):
            raise Wrong(f"{self._text}: {word} is not called")
        call = Call(word, [])
        while self._peek() != ")":
            call.given.append(self._value())
            if self._peek() == ",":
                self._next()
        self._next()
        while self._peek() == ".":
            self._next()
            call.path.append(self._next()[1])
        return call


class Deployment:
    """A template with its parameters, in the resource group tv of one subscription."""

    def __init__(self, template: dict[str, Any], given: dict[str, Any], subscription: str) -> None:
        self.template = template
        self._group = f"/subscriptions/{subscription}/resourceGroups/tv"
        self._subscription = subscription
        self._used: set[tuple[str, str]] = set()
        self._needed: list[str] = []
        self.given = {name: self._parameter(name, declared, given) for name, declared in template["parameters"].items()}
        if unknown := given.keys() - self.given.keys():
            raise Wrong(f"there is no parameter {sorted(unknown)}")

    def _parameter(self, name: str, declared: dict[str, Any], given: dict[str, Any]) -> Any:
        if name not in given and "defaultValue" not in declared:
            raise Wrong(f"parameter {name} has to be given")
        value = given.get(name) if name in given else self.value(declared["defaultValue"])
        kind = {"string": str, "int": int, "object": dict, "secureObject": dict}[declared["type"]]
        least, most = declared.get("minValue"), declared.get("maxValue")
        if not isinstance(value, kind) or (least is not None and value < least) or (most is not None and value > most):
            raise Wrong(f"parameter {name} cannot be {value!r}")
        return value

    def resources(self) -> list[dict[str, Any]]:
        """All of them with every expression worked out, and by `id` where each is."""
        made = []
        for resource in self.template["resources"]:
            self._needed = []
            one = self.value(resource)
            one["id"] = self._id(one["type"], one["name"])
            if missing := set(self._needed) - set(one.get("dependsOn", [])):
                raise Wrong(f"{one['id']} does not wait for {sorted(missing)}")
            made.append(one)
        known = {one["id"] for one in made}
        for one in made:
            if missing := set(one.get("dependsOn", [])) - known:
                raise Wrong(f"{one['id']} waits for {sorted(missing)}, which nobody makes")
        for output in self.template["outputs"].values():
            self.value(output)
        declared = {(kind, name) for kind in ("parameters", "variables") for name in self.template[kind]}
        if unused := declared - self._used:
            raise Wrong(f"nobody uses {sorted(unused)}")
        return made

    def value(self, value: Any) -> Any:
        """What Azure would make of it."""
        if isinstance(value, dict):
            return {self.value(key): self.value(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.value(one) for one in value]
        if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
            return self._worked_out(_Parser(value[1:-1]).whole(), {})
        return value

    def _worked_out(self, parsed: Any, names: dict[str, Any]) -> Any:
        if not isinstance(parsed, Call):
            return parsed
        if parsed.name == "map":
            listed, function = self._worked_out(parsed.given[0], names), parsed.given[1]
            result: Any = [self._worked_out(function.given[1], names | {function.given[0]: one}) for one in listed]
        elif parsed.name == "lambdaVariables":
            result = names[parsed.given[0]]
        else:
            call = getattr(self, f"_arm_{parsed.name}", None)
            if call is None:
                raise Wrong(f"there is no function {parsed.name}")
            result = call(*(self._worked_out(one, names) for one in parsed.given))
        for name in parsed.path:
            if name not in result:
                raise Wrong(f"{parsed.name}() has no {name}")
            result = result[name]
        return result

    def _id(self, kind: str, name: str) -> str:
        return f"{self._group}/providers/{kind}/{name}"

    def _arm_parameters(self, name: str) -> Any:
        return self._declared("parameters", name, self.given)

    def _arm_variables(self, name: str) -> Any:
        return self.value(self._declared("variables", name, self.template["variables"]))

    def _declared(self, kind: str, name: str, where: dict[str, Any]) -> Any:
        if name not in where:
            raise Wrong(f"there is no {name} among the {kind}")
        self._used.add((kind, name))
        return where[name]

    def _arm_resourceGroup(self) -> dict[str, str]:  # noqa: N802
        return {"id": self._group, "name": "tv", "location": "westeurope"}

    def _arm_subscription(self) -> dict[str, str]:
        return {"subscriptionId": self._subscription}

    def _arm_resourceId(self, kind: str, name: str) -> str:  # noqa: N802
        return self._id(kind, name)

    def _arm_reference(self, resource: str, version: str) -> dict[str, str]:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", version):
            raise Wrong(f"{version} is not a version of an API")
        self._needed.append(resource)
        return {"principalId": self._arm_guid(resource, "principal"), "clientId": self._arm_guid(resource, "client")}

    def _arm_guid(self, *words: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, "-".join(words)))

    def _arm_format(self, text: str, *given: Any) -> str:
        if re.sub(r"\{\d+\}", "", text).count("{"):
            raise Wrong(f"{text}: a brace that stands for nothing")
        return re.sub(r"\{(\d+)\}", lambda found: str(given[int(found[1])]), text)

    def _arm_base64(self, text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    def _arm_union(self, *given: dict[str, Any]) -> dict[str, Any]:
        return {name: value for one in given for name, value in one.items()}

    def _arm_items(self, given: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"key": name, "value": given[name]} for name in sorted(given)]

    def _arm_join(self, given: list[str], between: str) -> str:
        return between.join(given)

    def _arm_if(self, condition: bool, then: Any, otherwise: Any) -> Any:
        return then if condition else otherwise

    def _arm_empty(self, value: Any) -> bool:
        return not value

    def _arm_createArray(self, *given: Any) -> list[Any]:  # noqa: N802
        return list(given)

    def _arm_createObject(self, *given: Any) -> dict[str, Any]:  # noqa: N802
        return dict(zip(given[::2], given[1::2], strict=True))
