"""Names, addresses and organisations of a made-up region; organisation codes are in ranges that are not in use."""

from dataclasses import dataclass

import numpy as np

ACUTE_TRUSTS = ("RZ1", "RZ2")
MENTAL_HEALTH_TRUST = "RZM"
COMMUNITY_TRUST = "RZC"
AMBULANCE_TRUST = "RZX"
COUNCILS = ("991", "992")
MOST_PRACTICES = 8
FEWEST_PRACTICES = 4
PEOPLE_PER_PRACTICE = 12_000

POSTCODE_AREAS = (("PR", "LA"), ("BB", "M"))
"""Postcode areas of the people of each acute trust."""
INWARD_LETTERS = np.array(list("ABDEFGHJLNPQRSTUWXYZ"))

# Names are long or unusual enough not to occur in clinical terms, so that finding them in published data proves a leak.
GIVEN_MALE = """
Oliver George Muhammad William Joshua Freddie Archie Edward Samuel Joseph Michael Robert Stephen Andrew
Kenneth Raymond Siôn Seán René André Jürgen François Tomáš Mateusz Ibrahim Imran Arjun Kwame Chidiebere Zhiwei
"""
GIVEN_FEMALE = """
Olivia Amelia Isabella Sophia Florence Charlotte Margaret Patricia Christine Barbara Dorothy Maureen Kathleen
Julie Zoë Siân Chloé Renée Noëlle Aimée Róisín Hélène Agnieszka Fatima Zainab Ananya Adaeze Meiling Rebecca
Yasmin
"""
FAMILY = """
O'Neill O'Brien D'Arcy McDonald MacLeod Fitzgerald Smythe-Jones Núñez Müller Lefèvre Åström Sørensen Gonçalves
Kowalski Nowakowska Okafor Mensahene Nguyen-Hoang Ferreira Ashworth Entwistle Hargreaves Pilkington Threlfall
Higginbottom Ramsbottom Hesketh Fairclough Duckworth Rawstorne Tattersall Braithwaite Postlethwaite
Thistlethwaite Huddleston Wolstenholme Hussain Chaudhry Mahmood Bhattacharya Krishnan Subramanian Oyelaran
Adeyemi Papadopoulos Giordano Featherstone Cholmondeley Birtwistle Openshaw Crompton Eccleston Livesey
Singleton Whittaker Aspinall Catterall
"""
GIVEN_NAMES_MALE = np.array(GIVEN_MALE.split())
GIVEN_NAMES_FEMALE = np.array(GIVEN_FEMALE.split())
SURNAMES = np.array(FAMILY.split())
TEST_SURNAME = "XXTESTPATIENT"
STREETS = np.array(
    ["High Street", "Church Lane", "Station Road", "Victoria Street", "Mill Lane", "The Crescent", "Park Road", "King's Way"]
)

ETHNICITY_SHARES = {
    "A": 0.735, "B": 0.010, "C": 0.062, "D": 0.009, "E": 0.004, "F": 0.008, "G": 0.008, "H": 0.033, "J": 0.028,
    "K": 0.011, "L": 0.017, "M": 0.011, "N": 0.026, "P": 0.005, "R": 0.008, "S": 0.013, "Z": 0.012,
}  # fmt: skip
"""NHS 16+1 categories with their rough shares in England; Z is not stated."""

AGE_BANDS = np.array([5.4, 5.9, 6.0, 5.7, 6.0, 6.6, 7.0, 6.7, 6.3, 6.4, 6.9, 6.7, 5.8, 4.9, 5.0, 3.6, 2.5, 1.5, 1.1])
"""Percent of people of each five years of age; the last band is 90 and more."""


@dataclass(frozen=True)
class Practices:
    """The general practices: code, and per practice the position of its acute trust and council."""

    codes: np.ndarray
    district: np.ndarray


def draw_practices(people: int) -> Practices:
    """Four practices for a small population, slowly more for a large one, alternating between the two districts."""
    count = min(MOST_PRACTICES, FEWEST_PRACTICES + people // PEOPLE_PER_PRACTICE)
    return Practices(np.array([f"Y99{number:03d}" for number in range(1, count + 1)]), np.arange(count) % len(ACUTE_TRUSTS))


def draw_postcodes(rng: np.random.Generator, district: np.ndarray) -> np.ndarray:
    """Postcodes in the areas of each person's district, such as PR1 2AB; about 60 people share one."""
    count = len(district)
    areas = np.array(POSTCODE_AREAS)[district, rng.integers(0, 2, count)]
    sector = rng.integers(1, 10, count).astype("U1")
    letters = INWARD_LETTERS[rng.integers(0, len(INWARD_LETTERS), (2, count))]
    outward = np.char.add(areas, rng.integers(1, 8, count).astype("U1"))
    inward = np.char.add(sector, np.char.add(letters[0], letters[1]))
    return np.char.add(np.char.add(outward, " "), inward)


def draw_addresses(rng: np.random.Generator, count: int) -> np.ndarray:
    """House number and street."""
    houses = rng.integers(1, 200, count).astype("U3")
    return np.char.add(np.char.add(houses, " "), STREETS[rng.integers(0, len(STREETS), count)])


def draw_phones(rng: np.random.Generator, count: int) -> np.ndarray:
    """Mobile numbers of the range that Ofcom keeps for drama, 07700 900000 to 900999."""
    return np.char.add("07700900", np.char.zfill(rng.integers(0, 1000, count).astype("U3"), 3))
