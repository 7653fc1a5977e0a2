"""What the term of a clinical code says beside its code: that something was not done, is not there, or is a relative's.

A code without a concept, or a local one, has nothing but its term. Terms are compared in lower case; one that is missing says
nothing.
"""

from collections.abc import Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F

from pipelines.columns.choices import is_true
from pipelines.columns.text import is_one_of

_NOT_GIVEN = (
    "declin|refus|contra-?indicat|unvaccinated|unimmuni[sz]ed|consent|dissent|invit|offer|reminder|recall|advice|advised|deferred"
    "|postponed|cancelled|unsuitable|ineligible|overdue| due$|exempt|exclud|request|requires|needs |reaction|allerg|intoleran"
    "|adverse|counsel|discuss|enquir|leaflet|letter|appointment|did not|^dna[^a-z]|status unknown|history unknown"
    "|(?:^|[^a-z])not (?:been )?(?:given|done|immuni[sz]ed|vaccinated|received|had|indicated|required|needed|wanted|appropriate"
    "|eligible|suitable|up to date|carried out|available|attended|tolerated|recorded|known)"
    "|(?:^|[^a-z])no (?:record|evidence|response|reply|vaccin|immuni[sz])"
)
"""What the terms of codes for immunisations say of one that was not given, such as those that the NHS lists for it: did not
attend, contraindicated, consent not given (https://fhir.hl7.org.uk/STU3/ValueSet/CareConnect-ReasonImmunizationNotAdministered-1),
or that was only spoken of."""

_HYPERSENSITIVITY = "(?:allerg|(?:hyper)?sensitivit|intoleranc|adverse (?:drug )?reaction)"

_NO_ALLERGY = (
    f"^(?:no|nil)[ -](?:[a-z]+[ -])*{_HYPERSENSITIVITY}|^not (?:known to be )?(?:allergic|sensitive|intolerant)"
    f"|{_HYPERSENSITIVITY}[a-z]* (?:[a-z]+ )*(?:excluded|ruled out|unknown|not known)$"
)
"""`No known drug allergies`, `Not allergic to penicillin`, `Penicillin allergy excluded`, `Allergy status unknown`."""

_OF_RELATIVES = (
    "^(?:no |nil |negative |known |significant |relevant )*(?:family history(?:[^a-z]|$)|fh ?:|f/h(?:[^a-z]|$))"
    "|^no fh(?:[^a-z]|$)"
)
"""`FH: Asthma`, `No significant family history`; not `FH - Familial hypercholesterolaemia`, which the patient has."""


def immunisation_given(category: Column, term: Column) -> Column:
    """Whether a code of a practice is of an immunisation that was given: by its category, unless its term says otherwise."""
    return is_one_of(category, ["Immunisations"]) & ~_says(term, _NOT_GIVEN)


def no_allergy_said(code: Column, term: Column, codes: Iterable[str]) -> Column:
    """Whether an entry says that there is no allergy, or that none is known: by its code, one of `codes`, or by its term."""
    return is_one_of(code, codes) | _says(term, _NO_ALLERGY)


def about_relatives(category: Column, term: Column) -> Column:
    """Whether a code of a practice says itself that it is about relatives: by its category, or by its term."""
    return is_one_of(category, ["Family history"]) | _says(term, _OF_RELATIVES)


def _says(term: Column, pattern: str) -> Column:
    return is_true(F.lower(F.trim(term)).rlike(pattern))
