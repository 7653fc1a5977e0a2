"""Directions for a medicine: the closed forms in which dose and frequency are kept, and what is read from them.

Prescribers type directions as they like, so the text as delivered may hold anything, names included. What is kept is not that
text but one of a few hundred sentences that a grammar allows, written in one way:

    1 tablet twice a day · 500 mg every 8 hours as needed · 1-2 tablet up to 4 times a day · 5 ml once a day at night for 7 days

Every word of the text has to be a word of the grammar. One that is not, whatever it is, and nothing is kept.
"""

from collections.abc import Mapping

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true, once

PIECES = (
    "tablet", "capsule", "caplet", "lozenge", "pastille", "sachet", "patch", "suppository", "pessary", "ampoule", "vial",
    "nebule", "syringe", "injection", "enema", "plaster",
)  # fmt: skip
"""Units that are a whole piece of a product: a dose without a unit counts these."""

PORTIONS = ("puff", "spray", "drop", "dose", "application", "spoonful")
"""Units that are a part of what is handed over, of no known size."""

MEASURES = ("ml", "litre", "nanogram", "microgram", "mg", "gram", "unit", "mmol")
"""Units of volume, mass, activity and amount."""

_MILLIGRAMS = {"nanogram": 0.000001, "microgram": 0.001, "mg": 1.0, "gram": 1000.0}
"""How many milligrams a unit of mass is."""

_OTHER_SPELLINGS = {
    "tablet": ("tab", "tabs"),
    "capsule": ("cap", "caps"),
    "puff": ("inhalation", "actuation"),
    "suppository": ("suppositories",),
    "pessary": ("pessaries",),
    "patch": ("patches",),
    "ampoule": ("amp", "amps", "ampule"),
    "nebule": ("neb", "nebs"),
    "ml": ("millilitre", "milliliter"),
    "litre": ("l", "liter"),
    "nanogram": ("ng",),
    "microgram": ("mcg", "ug", "microg"),
    "mg": ("milligram", "mgm"),
    "gram": ("g", "gm", "gramme"),
    "unit": ("iu", "u"),
    "drop": ("gtt", "guttae"),
    "spoonful": ("spoon",),
}

_UNITS = {
    spelling: unit
    for unit in (*PIECES, *PORTIONS, *MEASURES)
    for singular in (unit, *_OTHER_SPELLINGS.get(unit, ()))
    for spelling in (singular, f"{singular}s")
}
"""The form of a unit by its spellings."""

_NUMBERS = {word: str(number) for number, word in enumerate("one two three four five six seven eight nine ten".split(), 1)}

_ABBREVIATIONS = {
    "once": "1 times", "twice": "2 times", "thrice": "3 times", "x": "times", "time": "times", "half": "0.5",
    "od": "1 times day", "qd": "1 times day", "bd": "2 times day", "bid": "2 times day", "tds": "3 times day",
    "tid": "3 times day", "qds": "4 times day", "qid": "4 times day", "mane": "morning", "om": "morning", "nocte": "night",
    "bedtime": "night", "prn": "as needed", "required": "needed", "necessary": "needed", "stat": "at~once",
    "immediately": "at~once", "hour": "hours", "hr": "hours", "hrs": "hours", "h": "hours", "hrly": "hourly",
    "daily": "day", "everyday": "day", "weekly": "week", "mdu": "as directed", "advised": "directed", "meal": "food",
    "meals": "food", "max": "up to", "maximum": "up to",
}  # fmt: skip

_SAID_ANYWAY = (
    "please", "take", "use", "apply", "inhale", "inject", "insert", "instil", "instill", "give", "swallow", "suck", "chew",
    "dissolve", "orally",
)  # fmt: skip
"""Words that say that a medicine is to be taken; what is kept does not repeat them."""

_WORDS = _UNITS | _NUMBERS | _ABBREVIATIONS | dict.fromkeys(_SAID_ANYWAY, "")

_NUMBER = "(?:[0-9]{1,5}(?:[.][0-9]{1,3})?)"
_COUNT = "(?:[1-9]|1[0-2])"
_COUNTS = f"{_COUNT}(?:-{_COUNT})?"
_EACH = "(?:(?:a|per|each|every) )?"

_SEVERAL = ("[(](e?s)[)]", "$1")
"""How systems write a unit that may be one or several: `tablet(s)`, `patch(es)`."""

_BEFORE_WORDS = (
    _SEVERAL,
    ("\u00bd", ".5"),
    ("\u00bc", ".25"),
    ("\u00be", ".75"),
    ("\u00b5g|\u03bcg", "mcg"),
    ("[ \t\r\n\u00a0(),;'\"!]+", " "),
    ("([a-z])[.]", "$1"),
    (" 1/2 ", " 0.5 "),
    (" [.]([0-9])", " 0.$1"),
    ("([a-z]) ?/ ?([a-z])", "$1 per $2"),
    (f" ({_NUMBER}(?:-{_NUMBER})?|q[0-9]+)([a-z])", " $1 $2"),
    (" to be [a-z]+ ", " "),
)
"""Marks and blanks, before the words are looked up: fractions, points of abbreviations, `5ml`, `to be taken`."""

_AFTER_WORDS = (
    (" +", " "),
    (" 0.5 (?:a|of a) ", " 0.5 "),
    (" 1 5 ml spoonful ", " 5 ml "),
    (" 2 5 ml spoonful ", " 10 ml "),
    (f"({_NUMBER}) ?(?:-|to|or) ?({_NUMBER}) ", "$1-$2 "),
    (" up to ", " up~to "),
    (" (?:on )?(?:alternate days|(?:every other|every second|every 2|alternate) day) ", " every~2~days "),
    (" (?:every 2 weeks|every 14 days|fortnightly|every fortnight) ", " every~14~days "),
    (f" every ({_NUMBER}) days ", " every~$1~days "),
    (f" (?:(?:every |q ?)({_NUMBER}(?:-{_NUMBER})?) hours|({_NUMBER}(?:-{_NUMBER})?) hourly) ", " every~$1$2~hours "),
    (" for 1 week ", " for~7~days "),
    (" for ([0-9]{1,3}) (days|weeks) ", " for~$1~$2 "),
    (f" ({_COUNTS}) times {_EACH}(day|week) ", " $1~times~a~$2 "),
    (" (?:in the )?morning and (?:at |in the )?(?:night|evening) ", " 2~times~a~day "),
    (f" {_EACH}(day|week) ", " 1~times~a~$1 "),
    (" (?:1~times~a~day )?(?:in the |each |every )?(morning|evening) ", " 1~times~a~day~in~the~$1 "),
    (" (?:1~times~a~day )?(?:at |each |every )?night ", " 1~times~a~day~at~night "),
    (" (with|after|before) food ", " $1~food "),
    (" (?:when|as|if|where) needed ", " as~needed "),
    (" as directed ", " as~directed "),
    (" at 1 times ", " at~once "),
)
"""Phrases, once every word has one form. What a step has understood is joined by `~`, so that no later step takes it apart."""

_UNIT = f"(?:{'|'.join((*PIECES, *PORTIONS, *MEASURES))})"
_AMOUNT = f"(?:up~to )?{_NUMBER}(?:-{_NUMBER})?(?: {_UNIT})?"
_FREQUENCY = (
    f"(?:{_COUNTS}~times~a~(?:day(?:~in~the~morning|~in~the~evening|~at~night)?|week)"
    "|every~[1-9][0-9]?(?:-[1-9][0-9]?)?~hours|every~[1-9][0-9]?~days|at~once)"
)
_CLOSED = (
    f"^(?:{_AMOUNT} )?(?:(?:up~to )?{_FREQUENCY}|as~needed|as~directed)(?: (?:with|after|before)~food)?"
    "(?: as~needed| as~directed)?(?: for~(?:[1-9][0-9]{0,2}~days|[1-9]~weeks))?$"
)


def directions_in(text: Column) -> Column:
    """The directions in a trimmed text in their one form; null where the text is no closed form, or none is delivered."""
    plain = _padded(F.lower(text))
    for pattern, form in _BEFORE_WORDS:
        plain = F.regexp_replace(plain, pattern, form)
    said = _padded(F.concat_ws(" ", F.transform(F.split(F.trim(plain), " "), _in_its_form)))
    for pattern, form in _AFTER_WORDS:
        said = F.regexp_replace(said, pattern, form)
    closed = _padded(F.regexp_extract(F.trim(said), _CLOSED, 0))
    counted = F.regexp_replace(F.regexp_replace(closed, " 1~times", " once"), " 2~times", " twice")
    return F.nullif(F.trim(F.translate(counted, "~", " ")), F.lit(""))


def _padded(text: Column) -> Column:
    return F.concat(F.lit(" "), text, F.lit(" "))


def _in_its_form(word: Column) -> Column:
    return _form_of(word, _WORDS).otherwise(word)


_ALONE = "(?:^| )"
_FREQUENCY_FOLLOWS = "once a|twice a|[0-9-]+ times a|every [0-9]|at once"
_NOT_REGULAR = "as needed|as directed|up to|at once|[0-9]-[0-9]"
_DIGITS = "decimal(28,3)"
_HOURS_OF_DAY, _DAYS_OF_WEEK = 24.0, 7.0


def dose_in(directions: Column) -> Column:
    """The amount of one dose, in the unit of `dose_unit_in`; null where directions give none, a range or a maximum."""
    return _number(directions, f"^({_NUMBER})(?: {_UNIT})?(?:$| (?:{_FREQUENCY_FOLLOWS}|as ))")


def dose_unit_in(directions: Column) -> Column:
    """The unit of the dose in directions; null where they give none. A dose without a unit counts pieces of the product."""
    return F.nullif(F.regexp_extract(directions, f"^(?:up to )?{_NUMBER}(?:-{_NUMBER})? ({_UNIT})(?: |$)", 1), F.lit(""))


def frequency_in(directions: Column) -> Column:
    """Directions without the dose that they begin with."""
    amount = f"^(?:up to )?{_NUMBER}(?:-{_NUMBER})?(?: {_UNIT})? ((?:up to )?(?:{_FREQUENCY_FOLLOWS}|as ))"
    return F.regexp_replace(directions, amount, "$1")


def as_needed(directions: Column) -> Column:
    """Directions of what is to be taken as needed, in their closed form: `twice a day as needed for 7 days` of `twice a day for
    7 days`. `as needed` where there are none.
    """
    said = F.regexp_replace(
        F.regexp_replace(directions, " as directed", ""), "^(.*?)( for [0-9]+ (?:days|weeks))?$", "$1 as needed$2"
    )
    return first_true([(directions.isNull(), F.lit("as needed")), (directions.contains("as needed"), directions)], said)


def doses_per_day_in(directions: Column) -> Column:
    """How many doses a day directions ask for: 0.5 where it is every other day.

    Null where they say none, a range or a maximum, and where the dose is taken as needed, as directed or at once.
    """
    regular = F.when(~directions.rlike(_NOT_REGULAR), directions)
    return F.coalesce(
        F.when(regular.contains("once a day"), F.lit(1.0)),
        F.when(regular.contains("twice a day"), F.lit(2.0)),
        _number(regular, f"{_ALONE}({_COUNT}) times a day"),
        F.lit(_HOURS_OF_DAY) / _number(regular, f"{_ALONE}every ([0-9]+) hours"),
        F.lit(1.0) / _number(regular, f"{_ALONE}every ([0-9]+) days"),
        F.when(regular.contains("once a week"), F.lit(1.0 / _DAYS_OF_WEEK)),
        F.when(regular.contains("twice a week"), F.lit(2.0 / _DAYS_OF_WEEK)),
        _number(regular, f"{_ALONE}({_COUNT}) times a week") / F.lit(_DAYS_OF_WEEK),
    )


def amount_in(dose: Column, unit: Column) -> Column:
    """A dose in the form that directions begin with (`1000 mg`); null where it is none, or its unit is none that is known."""
    digits = F.regexp_replace(F.when(dose > 0, dose).try_cast(_DIGITS).cast("string"), "[.]?0+$", "")
    return F.concat(digits, F.lit(" "), unit_in(unit))


def daily_amount_in(directions: Column, unit: Column, piece_mg: Column) -> Column:
    """How much of a quantity in some unit is used up in a day that follows the directions; null where they do not say.

    Dose and quantity have one unit, or the quantity counts pieces and the dose has no unit, or is a mass and a piece is of
    `piece_mg` milligrams.
    """
    counted, dosed, dose = unit_in(unit), dose_unit_in(directions), dose_in(directions)
    is_pieces = counted.isin(*PIECES)
    amount = (
        F.when(dosed == counted, dose)
        .when(dosed.isNull() & is_pieces, dose)
        .when(is_pieces, in_milligrams(dose, dosed) / piece_mg)
    )
    return amount * doses_per_day_in(directions)


def days_in(directions: Column) -> Column:
    """For how many days directions say that a medicine is taken; null where they do not."""
    number = F.nullif(F.regexp_extract(directions, " for ([0-9]+) (?:days|weeks)$", 1), F.lit("")).try_cast("bigint")
    return number * F.when(directions.endswith("weeks"), F.lit(7)).otherwise(F.lit(1))


def unit_in(text: Column) -> Column:
    """The one form of a unit of doses or quantities (`tablet` of `Tabs`); null where the text is none that is known."""
    return once(F.regexp_replace(F.lower(F.trim(text)), *_SEVERAL), lambda word: _form_of(word, _UNITS))


def in_milligrams(amount: Column, unit: Column) -> Column:
    """An amount in milligrams; null where its unit is none of mass."""
    return amount * F.try_element_at(
        F.create_map(*[F.lit(part) for pair in _MILLIGRAMS.items() for part in pair]), unit_in(unit)
    )


def _number(text: Column, pattern: str) -> Column:
    return F.nullif(F.regexp_extract(text, pattern, 1), F.lit("")).try_cast("double")


def _form_of(word: Column, forms: Mapping[str, str]) -> Column:
    """The form of a word by its spellings. Comparisons, because Sail 0.7.2 makes a literal map anew for every word."""
    spellings = {form: sorted(word for word, of in forms.items() if of == form) for form in dict.fromkeys(forms.values())}
    (first, of_first), *others = spellings.items()
    found = F.when(word.isin(*of_first), F.lit(first))
    for form, of_form in others:
        found = found.when(word.isin(*of_form), F.lit(form))
    return found
