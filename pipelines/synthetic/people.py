"""Draws the people as arrays, story people first."""

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.synthetic import places
from pipelines.synthetic.nhs_numbers import NO_NUMBER, draw_nhs_numbers
from pipelines.synthetic.population import Catalogue, Population, Story, named_rng
from pipelines.synthetic.text import guids

STORIES_PER_KIND = 6
PEOPLE_PER_STORY = 3

AGES_OF_STORY = {
    Story.FALL: (72, 90),
    Story.DIABETES: (50, 75),
    Story.MENTAL_HEALTH_SPELL: (22, 60),
    Story.IMMUNISATIONS: (1, 4),
    Story.DEATH: (75, 92),
    Story.COPD_EXACERBATION: (58, 80),
    Story.ELECTIVE_HIP: (60, 82),
    Story.COMMUNITY_NURSING: (65, 88),
    Story.SOCIAL_CARE: (68, 92),
    Story.HEART_ATTACK: (48, 78),
}
CONDITION_OF_STORY = {
    Story.DIABETES: "44054006",
    Story.MENTAL_HEALTH_SPELL: "35489007",
    Story.COPD_EXACERBATION: "13645005",
    Story.ELECTIVE_HIP: "239872002",
}
"""SNOMED CT code of the condition that a story person has in addition to the events of the story."""

NO_NHS_NUMBER_SHARE = 0.012
TEST_PATIENT_SHARE = 0.001
TYPE1_DISSENT_SHARE = 0.02
TYPE1_WITHDRAWN_SHARE = 0.005
NATIONAL_OPT_OUT_SHARE = 0.04
LOCAL_OPT_OUT_SHARE = 0.005
OBJECTION_SHARE = 0.001
MOVED_PRACTICE_SHARE = 0.04
DEATH_WINDOW_DAYS = 5 * 365
STORY_DEATH_DAYS = (10, 120)
REGISTRATION_DAYS = 15 * 365
DAYS_OF_YEAR = 365.25
OLDEST = 120


def draw_population(
    people: int, seed: int, first_night: np.datetime64, last_day: np.datetime64, catalogue: Catalogue
) -> Population:
    """All people of a world. Raises ConfigError if there are more than valid NHS numbers of the test range."""
    story = assign_stories(people)
    ordinary = story == Story.ORDINARY
    identity = named_rng(seed, "people.identity")
    life = named_rng(seed, "people.life")
    home = named_rng(seed, "people.home")
    choice = named_rng(seed, "people.choice")

    birth_date = draw_birth_dates(life, story, last_day)
    death_date = draw_death_dates(life, story, birth_date, first_night, last_day)
    sex = life.integers(1, 3, people)
    test_patient = draw_share(choice, ordinary, TEST_PATIENT_SHARE)
    without_number = draw_share(choice, ordinary & ~test_patient, NO_NHS_NUMBER_SHARE)
    male = places.GIVEN_NAMES_MALE[identity.integers(0, len(places.GIVEN_NAMES_MALE), people)]
    female = places.GIVEN_NAMES_FEMALE[identity.integers(0, len(places.GIVEN_NAMES_FEMALE), people)]
    surname = places.SURNAMES[identity.integers(0, len(places.SURNAMES), people)]

    practices = places.draw_practices(people)
    practice = home.integers(0, len(practices.codes), people)
    district = practices.district[practice]
    moved = draw_share(choice, ordinary & (birth_date < last_day - REGISTRATION_DAYS), MOVED_PRACTICE_SHARE)
    previous = (practice + home.integers(1, len(practices.codes), people)) % len(practices.codes)
    registered_on = np.maximum(birth_date + 14, last_day - home.integers(1200, REGISTRATION_DAYS, people))
    moved_on = np.where(moved, last_day - home.integers(60, 1000, people), np.datetime64("NaT", "D"))
    moved &= ~(death_date <= moved_on)
    type1 = np.where(draw_share(choice, ordinary, TYPE1_DISSENT_SHARE), "dissent", "").astype("U9")
    type1[draw_share(choice, ordinary & (type1 == ""), TYPE1_WITHDRAWN_SHARE)] = "withdrawn"
    onset_person, onset_condition, onset_date = draw_conditions(
        named_rng(seed, "people.conditions"), catalogue.conditions, story, sex, birth_date, death_date, last_day
    )
    return Population(
        nhs_number=np.where(without_number, NO_NUMBER, draw_nhs_numbers(identity, people)),
        given_name=np.where(sex == 1, male, female),
        surname=np.where(test_patient, places.TEST_SURNAME, surname),
        sex=sex.astype("U1"),
        birth_date=birth_date,
        death_date=death_date,
        ethnicity=draw_ethnicities(life, people),
        address=places.draw_addresses(home, people),
        postcode=places.draw_postcodes(home, district),
        phone=places.draw_phones(home, people),
        gp_practice=practices.codes[practice],
        gp_practice2=np.where(moved, practices.codes[previous], ""),
        registered_on=registered_on,
        moved_on=np.where(moved, moved_on, np.datetime64("NaT", "D")),
        acute_trust=np.array(places.ACUTE_TRUSTS)[district],
        mh_trust=np.full(people, places.MENTAL_HEALTH_TRUST),
        community_trust=np.full(people, places.COMMUNITY_TRUST),
        ambulance_trust=np.full(people, places.AMBULANCE_TRUST),
        council=np.array(places.COUNCILS)[district],
        gp_guid=texts(guids(identity, people)),
        gp_guid2=np.where(moved, texts(guids(identity, people)), ""),
        acute_mrn=draw_local_ids(identity, "H", people),
        mh_id=draw_local_ids(identity, "MH", people),
        community_id=draw_local_ids(identity, "CP", people),
        ambulance_id=draw_local_ids(identity, "AP", people),
        council_id=draw_local_ids(identity, "SC", people),
        story=story,
        type1=type1,
        national_opt_out=draw_share(choice, ordinary, NATIONAL_OPT_OUT_SHARE),
        local_opt_out=draw_share(choice, ordinary, LOCAL_OPT_OUT_SHARE),
        objection=draw_share(choice, ordinary, OBJECTION_SHARE),
        test_patient=test_patient,
        onset_person=onset_person,
        onset_condition=onset_condition,
        onset_date=onset_date,
    )


def assign_stories(people: int) -> np.ndarray:
    """The story kind of each person: the kinds in turn for the first people, six of each kind but at most a third of all."""
    kinds = len(Story) - 1
    story_people = min(STORIES_PER_KIND * kinds, people // PEOPLE_PER_STORY)
    story = np.zeros(people, dtype=np.int8)
    story[:story_people] = np.arange(story_people) % kinds + 1
    return story


def draw_share(rng: np.random.Generator, among: np.ndarray, share: float) -> np.ndarray:
    """A flag for a share of all people, at least one, drawn from those `among` whom it may be."""
    candidates = rng.permutation(np.flatnonzero(among))
    chosen = np.zeros(len(among), dtype=bool)
    chosen[candidates[: max(1, round(share * len(among)))]] = True
    return chosen


def draw_birth_dates(rng: np.random.Generator, story: np.ndarray, last_day: np.datetime64) -> np.ndarray:
    """Birth dates by the age pyramid, at least two months before the last day; story people have the age of their story."""
    people = len(story)
    bands = rng.choice(len(places.AGE_BANDS), people, p=places.AGE_BANDS / places.AGE_BANDS.sum())
    ages = bands * 5 + rng.random(people) * np.where(bands == len(places.AGE_BANDS) - 1, 9, 5)
    for kind, (youngest, oldest) in AGES_OF_STORY.items():
        in_story = story == kind
        ages[in_story] = rng.uniform(youngest, oldest, in_story.sum())
    return last_day - np.maximum(60, ages * DAYS_OF_YEAR).astype("timedelta64[D]")


def draw_death_dates(
    rng: np.random.Generator, story: np.ndarray, birth_date: np.ndarray, first_night: np.datetime64, last_day: np.datetime64
) -> np.ndarray:
    """Death dates of the last five years, more likely with age; NaT for the living. Of story people only one story dies."""
    people = len(story)
    ages = (last_day - birth_date).astype(np.int64) / DAYS_OF_YEAR
    died = (rng.random(people) < np.minimum(0.6, np.exp((ages - 97) / 12))) & (ages > 18) & (story == Story.ORDINARY)
    death_date = np.where(died, last_day - rng.integers(0, DEATH_WINDOW_DAYS, people), np.datetime64("NaT", "D"))
    in_story = story == Story.DEATH
    death_date[in_story] = first_night - rng.integers(*STORY_DEATH_DAYS, in_story.sum())
    return death_date


def draw_ethnicities(rng: np.random.Generator, people: int) -> np.ndarray:
    """NHS 16+1 letters."""
    shares = np.array(list(places.ETHNICITY_SHARES.values()))
    return rng.choice(np.array(list(places.ETHNICITY_SHARES)), people, p=shares / shares.sum())


def draw_local_ids(rng: np.random.Generator, prefix: str, people: int) -> np.ndarray:
    """Local identifiers: a prefix and seven digits, unique, in no order of person."""
    numbers = rng.permutation(9_000_000)[:people] + 1_000_000
    return np.char.add(prefix, numbers.astype("U7"))


def draw_conditions(
    rng: np.random.Generator,
    conditions: pd.DataFrame,
    story: np.ndarray,
    sex: np.ndarray,
    birth_date: np.ndarray,
    death_date: np.ndarray,
    last_day: np.datetime64,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Person, catalogue row and onset date of every condition; onset is before death, between the ages at which it begins."""
    end = np.where(np.isnat(death_date), last_day, death_date).astype("datetime64[D]")
    held: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for row, condition in enumerate(conditions.itertuples()):
        start = birth_date + np.timedelta64(int(max(condition.min_age, 0) * DAYS_OF_YEAR), "D")
        oldest = OLDEST if np.isnan(condition.max_age) else condition.max_age
        latest = np.minimum(end, birth_date + np.timedelta64(int(oldest * DAYS_OF_YEAR), "D"))
        chance = np.where(story == Story.ORDINARY, condition.prevalence, 0.0)
        if condition.sex:
            chance[sex != int(condition.sex)] = 0.0
        for kind, snomed in CONDITION_OF_STORY.items():
            if condition.snomed == snomed:
                chance[story == kind] = 1.0
                start = np.where(story == kind, np.minimum(start, end - 2000), start)
        drawn = rng.random(len(story))
        share_of_span = np.sqrt(rng.random(len(story)))
        span = (latest - start).astype(np.int64) - 1
        persons = np.flatnonzero((drawn < chance) & (span > 0))
        onset = start[persons] + (share_of_span[persons] * span[persons]).astype(np.int64)
        held.append((persons.astype(np.int32), np.full(len(persons), row, dtype=np.int32), onset))
    columns = list(zip(*held, strict=True))
    return np.concatenate(columns[0]), np.concatenate(columns[1]), np.concatenate(columns[2])


def texts(values: pa.Array) -> np.ndarray:
    """An Arrow string array as a numpy text array."""
    written: np.ndarray = values.to_numpy(zero_copy_only=False).astype("U")
    return written
