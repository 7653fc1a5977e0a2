"""Builds the world of a generation: its people and their events, from a number of people and a seed."""

from datetime import date

import numpy as np

from pipelines.errors import ConfigError
from pipelines.synthetic.codes import load_catalogue
from pipelines.synthetic.people import draw_population
from pipelines.synthetic.population import World
from pipelines.synthetic.timeline import draw_timeline

FEWEST_PEOPLE = 20


def build_world(people: int, seed: int, nights: int, first_night: date) -> World:
    """The world for the arguments; equal arguments give an equal world. Raises ConfigError if a number is out of range."""
    if people < FEWEST_PEOPLE:
        raise ConfigError(f"people: at least {FEWEST_PEOPLE} are needed, so that every kind of story has people around it")
    if nights < 1:
        raise ConfigError("nights: at least 1 is needed")
    codes = load_catalogue()
    night = np.datetime64(first_night, "D")
    last_day = night + nights - 2
    population = draw_population(people, seed, night, last_day, codes)
    return World(people, seed, nights, first_night, codes, population, draw_timeline(population, seed, night, last_day))
