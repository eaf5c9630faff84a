"""What `cargo xtask manifests` leaves to Python: reading YAML, and holding documents against the schemas of Kubernetes.

    manifests.py load FILE...    prints {file: [document, ...]}
    manifests.py schemas         reads {"crds": [file, ...], "sets": [[document, ...], ...]}, prints [[error, ...], ...]

Kinds of Kubernetes itself are looked up by kubernetes-validate (strictly: unknown fields are errors), all others in the
custom resource definitions that are named. A kind that nobody knows is an error, not something to pass over.
"""

import json
import sys

import jsonschema
import kubernetes_validate
import yaml

VERSION = "1.33"


class Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):
    """As Kubernetes reads YAML: a date is a text, a key may come once."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.YAMLError(f"{node.start_mark}: {', '.join(map(str, twice))} comes twice")
        return super().construct_mapping(node, deep)


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in Loader.yaml_implicit_resolvers.items()
}


def load(path):
    with open(path, encoding="utf-8") as file:
        return [document for document in yaml.load_all(file, Loader=Loader) if document is not None]


def strict(schema):
    """The schema of a custom resource, in which a field that is not named is an error, as on a server with strict checks."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    done = {}
    for key, value in schema.items():
        if key == "properties":
            done[key] = {name: strict(part) for name, part in value.items()}
        elif key in ("items", "additionalProperties", "not"):
            done[key] = strict(value)
        elif key in ("allOf", "anyOf", "oneOf"):
            # These repeat parts of what stands beside them; what they leave out is not forbidden.
            done[key] = value
        else:
            done[key] = value
    if schema.get("x-kubernetes-int-or-string"):
        return {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    keeps = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
    if "properties" in schema and "additionalProperties" not in schema and not keeps:
        done["additionalProperties"] = False
    if schema.get("nullable") and "type" in done:
        done["type"] = [done["type"], "null"]
    return done


def custom(paths):
    """Validators by (apiVersion, kind)."""
    found = {}
    for path in paths:
        for document in load(path):
            if document.get("kind") != "CustomResourceDefinition":
                continue
            spec = document["spec"]
            for version in spec["versions"]:
                schema = strict(version["schema"]["openAPIV3Schema"])
                # What every object has beside its own.
                schema.setdefault("properties", {})["metadata"] = {"type": "object"}
                for name in ("apiVersion", "kind"):
                    schema["properties"].setdefault(name, {"type": "string"})
                schema.pop("x-kubernetes-validations", None)
                key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                found[key] = jsonschema.Draft202012Validator(schema)
    return found


def place(error):
    return "/".join(str(part) for part in error.absolute_path) or "the document"


def schemas(request):
    known = custom(request["crds"])
    remembered = {}

    def check(document):
        kind, version = document.get("kind"), document.get("apiVersion")
        name = f"{kind}/{document.get('metadata', {}).get('name')}"
        validator = known.get((version, kind))
        if validator:
            return [f"{name}: {place(error)}: {error.message}" for error in validator.iter_errors(document)]
        try:
            kubernetes_validate.validate(document, VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            return [f"{name}: {'/'.join(map(str, error.path))}: {error.message}"]
        except kubernetes_validate.SchemaNotFoundError:
            return [f"{name}: nobody knows the kind {kind} of {version}"]
        return []

    def remember(document):
        text = json.dumps(document, sort_keys=True)
        if text not in remembered:
            remembered[text] = check(document)
        return remembered[text]

    return [[error for document in documents for error in remember(document)] for documents in request["sets"]]


def main():
    if sys.argv[1:2] == ["load"]:
        json.dump({path: load(path) for path in sys.argv[2:]}, sys.stdout)
    elif sys.argv[1:] == ["schemas"]:
        json.dump(schemas(json.load(sys.stdin)), sys.stdout)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
