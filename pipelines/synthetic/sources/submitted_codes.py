"""ICD-10 and OPCS-4 codes as hospitals write them: no dot, filled to a fixed length, marked as dagger or asterisk."""

import numpy as np

ICD10_ODDITIES = (0.02, 0.01, 0.01, 0.01, 0.005)
OPCS4_ODDITIES = (0.04, 0.02, 0.01)
MISSING_CODE = "&"


def undivided_padded(codes: np.ndarray) -> np.ndarray:
    """ICD-10 codes with `X` as the fourth character where the category has no subdivision (I10X)."""
    return np.where(np.char.str_len(codes) == 3, np.char.add(codes, "X"), codes)


def icd10_as_submitted(rng: np.random.Generator, codes: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Undotted and padded; some, except the `plain` ones, with a filler, a dagger mark, a dot, a blank or in lower case."""
    padded = undivided_padded(codes)
    forms = (
        np.char.add(padded, "-"),
        np.char.add(padded, np.where(np.char.str_len(padded) == 4, "-D", "D")),
        np.char.add(np.char.add(_part(padded, 0, 3), "."), _part(padded, 3, 5)),
        np.char.add(padded, "  "),
        np.char.lower(padded),
    )
    return _one_of(rng, padded, forms, ICD10_ODDITIES, plain)


def opcs4_as_submitted(rng: np.random.Generator, codes: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Undotted; some, except the `plain` ones, with a filler, with a dot, or replaced by the filler."""
    forms = (
        np.char.add(codes, MISSING_CODE),
        np.char.add(np.char.add(_part(codes, 0, 3), "."), _part(codes, 3, 4)),
        np.full(len(codes), MISSING_CODE),
    )
    return _one_of(rng, codes, forms, OPCS4_ODDITIES, plain)


def with_unknown(
    rng: np.random.Generator, codes: np.ndarray, unknown: np.ndarray, share: float, plain: np.ndarray
) -> np.ndarray:
    """Codes of which a share is replaced by unknown or retired ones, except where `plain`."""
    replaced = (rng.random(len(codes)) < share) & ~plain
    return np.where(replaced, unknown[rng.integers(0, len(unknown), len(codes))], codes)


def _part(codes: np.ndarray, start: int, end: int) -> np.ndarray:
    width = codes.dtype.itemsize // 4
    if width <= start:
        return np.full(len(codes), "")
    characters = np.ascontiguousarray(codes).view("U1").reshape(len(codes), width)[:, start:end]
    return np.ascontiguousarray(characters).view(f"U{characters.shape[1]}").reshape(len(codes))


def _one_of(
    rng: np.random.Generator, usual: np.ndarray, forms: tuple[np.ndarray, ...], shares: tuple[float, ...], plain: np.ndarray
) -> np.ndarray:
    chosen = np.searchsorted(np.cumsum(shares), rng.random(len(usual)), side="right")
    chosen = np.where(plain, len(forms), chosen)
    return np.choose(chosen, [*forms, usual])
