"""Classes that somebody names, as the detector numbers them."""

from __future__ import annotations

from collections.abc import Sequence

from dprd_cli.errors import UsageError, did_you_mean

_SHOWN = 12


def find_classes(
    wanted: Sequence[str | int], class_names: Sequence[str], category_ids: Sequence[int]
) -> tuple[int, ...]:
    """Return the indices of classes, each once, ascending.

    Args:
        wanted: Names, or ids as results files have them, also as text; a text may hold several with commas,
            and may stand alone.
        class_names: Name of each class index.
        category_ids: Id of each class index.

    Raises:
        UsageError: At one that is not there, with a suggestion and what there is.
    """
    found = set()
    for entry in [wanted] if isinstance(wanted, str) else wanted:
        whole = _find(str(entry).strip(), class_names, category_ids)
        several = [entry] if whole is not None else [word for word in str(entry).split(",") if word.strip()]
        for word in several:
            index = _find(str(word).strip(), class_names, category_ids)
            if index is None:
                raise UsageError(_message(str(word).strip(), class_names, category_ids))
            found.add(index)
    if not found:
        raise UsageError("--classes: name at least one class")
    return tuple(sorted(found))


def _find(word: str, names: Sequence[str], ids: Sequence[int]) -> int | None:
    """Return the class index of a name, first as it is written, then in any case; or of an id."""
    if word in names:
        return list(names).index(word)
    folded = [name.casefold() for name in names]
    if word.casefold() in folded:
        return folded.index(word.casefold())
    return next((index for index, number in enumerate(ids) if str(number) == word), None)


def _message(word: str, names: Sequence[str], ids: Sequence[int]) -> str:
    pairs = [f"{name} ({number})" for name, number in zip(names, ids, strict=True)]
    more = f", and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
    known = f"{', '.join(pairs[:_SHOWN])}{more}"
    return f"--classes {word}: no such class{did_you_mean(word, names)}; the detector knows {known}"
