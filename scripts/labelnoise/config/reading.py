"""Configuration files, YAML or JSON, in which every key is given once."""

import json
from pathlib import Path
from typing import Any

import yaml

from labelnoise.config.messages import where
from labelnoise.errors import InputError

# Far above any study; parsing takes seconds per megabyte.
LARGEST_BYTES = 500_000
# The scanner's time grows with the square of this.
DEEPEST_BRACKETS = 50
MERGE_TAG = "tag:yaml.org,2002:merge"


class Loader(yaml.SafeLoader):
    """YAML's safe loader, which also names the line of an invalid value, such as 2018-13-45."""

    def fetch_flow_collection_start(self, TokenClass: type) -> None:
        if self.flow_level >= DEEPEST_BRACKETS:
            raise yaml.scanner.ScannerError(
                None, None, "brackets are nested too deeply", self.get_mark()
            )
        super().fetch_flow_collection_start(TokenClass)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(
                None, None, str(error).split(";")[0], node.start_mark
            ) from error


def read_file(path: str | Path) -> dict:
    """Return the mapping that a configuration file holds; JSON is tried first, as in Snakemake.

    Raises:
        InputError: the file cannot be read, is neither JSON nor YAML, gives a key twice, or holds
            no mapping. The message names the file, and the line if it is known.
    """
    text = _read_text(path)
    content = _parse_json(text)
    if content is not None:
        # YAML allows no tabs for indentation. In JSON every tab is white space: strings hold none.
        text = text.replace("\t", " ")
    try:
        loader = Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                # Before the values are constructed, which copies merged keys into their mappings.
                _check_unique(path, node, (), set())
            if content is None and node is not None:
                content = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise InputError(_sentence(path, text, error)) from error
    except RecursionError:
        raise InputError(f"{path} nests its values too deeply; make it flatter.") from None
    if not isinstance(content, dict):
        found = "is empty" if content is None else "holds no keys at its top level"
        raise InputError(f"{path} {found}; expected keys with values, such as seed: 2018.")
    return content


def _read_text(path):
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"the config file {path} cannot be read: {reason}.") from None
    if len(content) > LARGEST_BYTES:
        raise InputError(f"{path} is larger than {LARGEST_BYTES} bytes; name a config file.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8: {error.reason}; save it as that.") from None


def _parse_json(text):
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _check_unique(path, node, key, seen):
    """Refuse a key that is given twice in one mapping; YAML would silently keep the last.

    Args:
        key: the node's place, a tuple of names and indices.
        seen: nodes already checked, which aliases lead to again.
    """
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _check_unique(path, item, (*key, index), seen)
    elif isinstance(node, yaml.MappingNode):
        lines = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                continue
            line, inner = name.start_mark.line + 1, (*key, name.value)
            # Two merges into one mapping both count.
            if name.value in lines and name.tag != MERGE_TAG:
                first = lines[name.value]
                at = f"lines {first} and {line}" if first != line else f"line {line}"
                raise InputError(f"{path} gives {where(inner)} twice, in {at}; keep one of them.")
            lines[name.value] = line
            _check_unique(path, value, inner, seen)


def _sentence(path, text, error):
    """Return one sentence on where a file is not YAML."""
    mark, context = getattr(error, "problem_mark", None), ""
    if mark is None:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        problem = getattr(error, "reason", error)
    else:
        line, problem = mark.line + 1, error.problem
        if error.context_mark and error.context_mark.line != mark.line:
            context = f" ({error.context} that starts in line {error.context_mark.line + 1})"
    return f"{path} is not YAML in line {line}: {' '.join(str(problem).split())}{context}."
