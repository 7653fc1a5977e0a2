"""The shapes of kept texts: what a text column that silver keeps may hold, whatever was delivered in it.

A contract declares one shape for each such column. A value that does not fit is not taken over. A shape is one regular
expression in the syntax that both engines share (ASCII classes, nothing that looks around), matched against the trimmed text.

Codes have digits, or are shorter than a name. Texts are made of known words (`words.yaml`), or are labels of a code table that
have a word which no name has. So names, addresses, sentences, dates and telephone numbers fit no shape. What is left are values
that nobody can tell from a code: two letters, or the three capitals of an NHS trust.
"""

import re
from enum import StrEnum
from functools import cache
from importlib.resources import files

from pipelines.contracts.yaml_files import parse_yaml


class Shape(StrEnum):
    """What the values of a kept text column look like."""

    SHORT_CODE = "short_code"
    """A national code: one or two letters, up to four digits, or up to six of both; `Y`, `2A`, `99X`, `R0260`."""
    CODE = "code"
    """A code of any system: digits, or letters and digits joined by `-`, `.`, `_`, `:`; of letters alone three capitals."""
    LOCAL_CODE = "local_code"
    """A code of one organisation, as CODE; letters alone up to four capitals (`CREA`), or a known one (`LYMPH`)."""
    ORGANISATION_CODE = "organisation_code"
    """An ODS code of an organisation or site (`P81001`, `RXN`, `RXN01`, `99X`), or an id of the Care Quality Commission."""
    NUMBER = "number"
    """Digits, such as an id that a system has counted; none that is a date."""
    SNOMED = "snomed"
    """An id of SNOMED CT or dm+d, perhaps an expression of several, or a national short code in its place."""
    CLINICAL_CODE = "clinical_code"
    """A code of SNOMED CT, ICD-10, OPCS-4, Read, CTV3, LOINC or of a system that adds to them."""
    UUID = "uuid"
    """32 hexadecimal digits in groups."""
    LIST = "list"
    """A value of a list, made of words that national and system lists use."""
    MEASURE = "measure"
    """A unit, the form of a medicine, a route or a site, made of the words for these."""
    RESULT = "result"
    """A number with operator and unit, two numbers (142/88, 1:160), or words for results."""
    DOSE = "dose"
    """A number with its unit, or what begins like one (`5-10 mg`, `5mg/5ml`, `<5 mg`); never words alone, as `nil` is."""
    ANSWER = "answer"
    """As RESULT, or as TERM: the answer to a question, which may be the term of a code."""
    SAMPLE = "sample"
    """A kind of sample, or its code."""
    TERM = "term"
    """The term of a clinical code: short, with a word or an ending that clinical terms have."""
    MEDICINE = "medicine"
    """The name of a medicine: short, with a strength, or a word or ending that names of medicines have."""
    ORGANISATION = "organisation"
    """The name of an organisation: short, with a word for what it is."""
    LISTED = "listed"
    """Only the `values` of the column."""


IN_LOWER_CASE = (
    *(Shape.LIST, Shape.MEASURE, Shape.RESULT, Shape.DOSE, Shape.ANSWER, Shape.SAMPLE),
    *(Shape.TERM, Shape.MEDICINE, Shape.ORGANISATION, Shape.LISTED),
)
"""The shapes of words. Their patterns are for the text in lower case: an engine compiles a pattern for each batch of rows, and
takes twice as long for one that ignores case."""

LABELS = (Shape.TERM, Shape.ANSWER, Shape.MEDICINE, Shape.ORGANISATION)
"""The shapes of texts that are not made of known words alone: of them NO_LABEL is asked too."""


@cache
def pattern_of(shape: Shape, values: tuple[str, ...] = ()) -> str:
    """The regular expression that every value of a shape, and each of some values in any case, matches as a whole.

    That of a shape IN_LOWER_CASE is for texts in lower case.
    """
    others = "|".join(re.sub(r"([^0-9a-z ])", r"\\\1", value.lower()) for value in values)
    in_any_case = "" if shape in IN_LOWER_CASE else "i"
    patterns = [pattern for pattern in (_patterns().get(shape), f"(?{in_any_case}:{others})" if others else None) if pattern]
    return f"^(?:{'|'.join(patterns)})$"


NO_LABEL = (
    "^=[ \t\r\n]{0,200}[a-z]|^@|^[=+-](?:.|[\r\n]){0,200}[a-z0-9.][(|!]"
    "|(?:^|[^a-z])(?:mr|mrs|miss|ms|mx|master|dr|prof|professor|rev|sir|lady|lord)[. ]{1,2}[a-z]"
    "|(?:^|[^a-z])(?:she|he|her|him|they|them|their|my|me|we|you|your|i'm|who|lives|lived|said|says|called|phoned|rang|told|asked|wants"
    "|wishes|born|dob|d[.]o[.]b|street|road|avenue|lane|crescent|terrace|flat|named|surname|forename"
    "|wife|husband|daughter|neighbour)(?:$|[^a-z])"
)
"""What a spreadsheet takes for a formula that calls something, and words of a sentence, an address or a form of address, in
lower case; no label that has one is taken over."""

_GAP = (
    "[ ,.:;/&()'\u2019\u2013_+*%^\\[\\]{}<>=|#?!\u2264\u2265"
    "\u00b0\u00ba\u02da\u00d7\u00b2\u00b3\u2070\u00b9\u2074-\u2079\r\n\t-]"
)
_CENTURY = "(?:19|20)"
_NOT_CENTURY, _NO_MONTH = "(?:0[0-9]|1[0-8]|2[1-9]|[3-9][0-9])", "(?:00|1[3-8]|2[1-9]|[3-9][0-9])"
_NO_DATE = (
    f"(?:{_CENTURY}[0-9]{{2}}{_NO_MONTH}[0-9]{{2}}"
    f"|{_NOT_CENTURY}[0-9]{{2}}{_NOT_CENTURY}[0-9]{{2}}|{_NOT_CENTURY}{_NO_MONTH}[0-9]{{4}})"
)
"""Eight digits that are neither yyyyMMdd nor ddMMyyyy."""

_DIGITS = f"(?:-?[0-9]{{1,7}}(?:[.]0+)?|{_NO_DATE}|[0-9]{{9,19}})"
_SHORT = (
    "(?i:yes|no|true|false|unknown|other)|[A-Za-z0-9]{1,2}|[0-9]{1,4}(?:[.]0+)?"
    "|[A-Za-z]{1,2}[0-9][0-9A-Za-z]{0,3}|[0-9]{1,3}[A-Za-z]{1,2}[0-9]{0,2}"
)
_JOINED = "[A-Za-z^]{1,8}(?:[-_.:^]?[A-Za-z]{1,4})?[-_.:^]?[0-9][0-9A-Za-z._:^-]{0,30}|[0-9]{1,6}[A-Za-z][0-9A-Za-z._:^]{0,12}"
_ORGANISATION_CODE = (
    "[RTQNrtqn][A-Z]{2}|[RT][A-Z]{4}|[A-Za-z]{1,3}[0-9][A-Za-z0-9]{0,8}"
    "|[0-9]{1,3}[A-Za-z][A-Za-z0-9]{0,6}|[0-9]{1,6}|1-[0-9]{6,12}"
)
_LOINC, _OID = "[0-9]{1,7}-[0-9]", "[0-9](?:[.][0-9]{1,6}){3,15}"
_CODE = f"{_SHORT}|{_DIGITS}|{_JOINED}|{_LOINC}|{_OID}|[A-Z]{{3}}"
_WARD = "(?i:ward|wd|bay|unit|team|clinic) ?[0-9A-Za-z]{1,3}"
_CAPITALS = "[A-Z]{1,4}(?:[-_^/&+][A-Z]{1,4})*[0-9]?"
_SCTID = "[0-9]{3,15}[01][0-2][0-9]"
_WITH_TERM = f"{_SCTID}(?: ?\\|[A-Za-z ,'()/-]{{1,100}}\\|)?"
_EXPRESSION = (
    f"(?:===|<<<)?[ ({{]{{0,4}}{_WITH_TERM}"
    f"(?: {{0,2}}[+:][ (){{}}]{{0,4}}{_WITH_TERM}(?:[ :=+,(){{}}]{{1,6}}{_WITH_TERM})*)?[ )}}]{{0,6}}"
)
"""An id, or several as an expression joins them. Ids with commas or blanks alone between them are a list: the first one is not
what was meant, so nobody reads them."""
_ICD_OPCS = "[A-Za-z][0-9]{2}[.]?[0-9Xx-]{0,3}(?: ?(?:[ADXadx&]|[+*\u2020\u2021]{1,2}))?|[&-]{1,4}"
_READ = (
    "[A-Za-z]{1,3}[.]{2,4}(?:[0-9]{2})?|[0-9A-Za-z]{0,3}[0-9][0-9A-Za-z]{0,3}[.]{1,4}(?:[0-9]{2})?(?:-[0-9]{1,2})?|[0-9]{0,4}[A-Za-z][0-9A-Za-z]{0,3}[0-9][0-9A-Za-z.]{0,4}(?:-[0-9]{1,2})?"
    "|[0-9]{1,4}[A-Za-z]{1,4}[0-9.]{0,3}(?:-[0-9]{1,2})?|X[aESM][A-Z][A-Za-z]{2}"
    "|[A-Z]yu|(?:\\^|EMIS|ESCT|EGTON|PCS)[A-Za-z0-9_]{0,20}"
)
_NUMBER = (
    "(?:'?[+\u2212-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,7}|"
    + _NO_DATE
    + "|[.][0-9])(?:[.][0-9]{0,15})?(?:[eE][+-]?[0-9]{1,2})?)"
)
_OPERATOR = "[<>=~\u2264\u2265\u00b1 ]{0,4}"


def _one_of(words: str) -> str:
    """One of some words. The longer ones first, and each escaped."""
    return "|".join(sorted((word.replace("-", "[- ]") for word in words.split()), key=lambda word: (-len(word), word)))


def _made_of(words: str, others: str = "") -> str:
    """A text made of some words and of words of up to two letters, with at most two short numbers between them."""
    word = f"(?:{_one_of(words)}|[a-z\u00b5\u03bc]{{1,2}})"
    number = "(?:1[.]73|[0-9]{1,3})"
    between = f"{_GAP}*(?:{number}(?:{_GAP}+{number})?)?{_GAP}*"
    gap = f"(?:{_GAP}+(?:{number}{_GAP}*(?:{number}{_GAP}*)?)?|{number}{_GAP}*(?:{number}{_GAP}*)?)"
    return f"(?:{between}(?:{word}(?:{gap}|{between}$))+){others}"


def _label(words: str, endings: str, extra: str = "") -> str:
    """A short text with one of some words (of long ones the beginning is enough) or endings, or what else tells of its kind."""
    short = _one_of(" ".join(word for word in words.split() if len(word) < _STEM))
    long = _one_of(" ".join(word for word in words.split() if len(word) >= _STEM))
    known = f"(?:{short})s?|(?:{long})[a-z]*|[a-z]{{2,20}}(?:{endings})" + (f"|{extra}" if extra else "")
    inside = f'(?:[a-z0-9\u00b5\u00e0-\u00ff"]|{_GAP})'
    return f"(?:{inside}{{0,80}}[^a-z])?(?:{known})(?:[^a-z]{inside}{{0,80}})?"


_STEM = 7
"""From how many letters on the beginning of a word is enough: names begin with many a shorter one."""

_ENDINGS_OF_TERMS = (
    "itis|osis|aemia|emia|ectomy|otomy|ostomy|oscopy|pathy|algia|uria|plasty|graphy|gram|penia|plegia|rrhage|rrhoea|trophy|megaly"
    "|sclerosis|cytosis|lysis|iasis|ology|opia|phagia|pnoea|cardia|tension|thyroidism|aminase|transferase|phosphatase|globulin|cyte|ectasis"
)
_ENDINGS_OF_MEDICINES = (
    "cillin|mycin|floxacin|cycline|azole|prazole|sartan|statin|dipine|olol|pril|gliptin|gliflozin|triptan|setron|parin|xaban|mab|tinib"
    "|vir|barbital|azepam|zolam|oxetine|caine|thiazide|semide|tropium|terol|sone|solone|nisone|onide|profen|oxicam|fenac|dronate|formin|glutide|codone"
)
_STRENGTH = (
    "[0-9](?:[.,]?[0-9])* ?(?:mg|mcg|micrograms?|g|kg|ml|mls|l|unit|units|iu|mmol|%|microlitres?|nanograms?)"
    "(?:/[a-z0-9. ]{1,12})?"
)


@cache
def _patterns() -> dict[Shape, str]:
    lists = parse_yaml(files(__package__).joinpath("words.yaml").read_text(encoding="utf-8"))
    measures, results = lists["measures"], lists["results"]
    word = f"(?:{_one_of(f'{measures} {results}')}|[a-z\u00b5\u03bc]{{1,2}})"
    unit = f"(?:{_one_of(measures)}|[a-z\u00b5\u03bc]{{1,2}})"
    words, units = (f"(?:{known}(?:{_GAP}+|{_GAP}*[0-9]{{1,2}}{_GAP}*|$))+" for known in (word, unit))
    numbers = f"{_OPERATOR}{_NUMBER}(?: ?[/:\u2013-] ?{_OPERATOR}{_NUMBER})?"
    written = {
        Shape.SHORT_CODE: _SHORT,
        Shape.CODE: _CODE,
        Shape.LOCAL_CODE: f"{_CODE}|{_CAPITALS}|{_WARD}|(?i:{_one_of(lists['mnemonics'])})",
        Shape.ORGANISATION_CODE: _ORGANISATION_CODE,
        Shape.NUMBER: _DIGITS,
        Shape.SNOMED: f"{_EXPRESSION}|{_SHORT}",
        Shape.CLINICAL_CODE: f"{_EXPRESSION}|{_SHORT}|{_ICD_OPCS}|{_READ}|{_LOINC}|[0-9]{{1,7}}",
        Shape.UUID: "[0-9A-Fa-f]{8}(?:-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}",
        Shape.LIST: _made_of(lists["lists"], f"|{_SHORT}|[0-9]{{1,3}} ?[+\u2013-] ?[0-9]{{0,3}}"),
        Shape.MEASURE: _made_of(
            measures, f"|[%\u2103]|{_GAP}{{0,3}}[0-9]{{1,3}}(?:{_GAP}{{1,3}}[0-9]{{1,3}})?{_GAP}{{0,2}}|[{{(]#[)}}]|{_SCTID}"
        ),
        Shape.RESULT: f"{numbers}{_GAP}*(?:{words})?|{words}|[-+*?!]{{1,4}}",
        Shape.DOSE: f"{numbers}{_GAP}*(?:{units})?",
        Shape.SAMPLE: _made_of(lists["samples"], f"|{_SCTID}"),
        Shape.TERM: _label(lists["clinical"], _ENDINGS_OF_TERMS),
        Shape.MEDICINE: _label(lists["medicines"], _ENDINGS_OF_MEDICINES, _STRENGTH),
        Shape.ORGANISATION: f"{_label(lists['organisations'], 'hospital')}|[a-z]{{2,4}}[0-9]{{2,7}}",
    }
    written[Shape.ANSWER] = f"{written[Shape.RESULT]}|{written[Shape.TERM]}"
    return written
