"""What the register says of each provider."""

from datetime import date

from pipelines.ingest.register import DeliveredByProvider, Registered, delivered_by_provider


def entry(source: str, provider: str, day: date, *periods: str, entity: str = "mpi") -> Registered:
    return Registered(
        load_id="l",
        delivery_id=f"{source}{provider}{day}",
        source=source,
        provider=provider,
        folder=f"{day:%Y%m%d}",
        extract_date=day,
        mode="full",
        entity=entity,
        file_id=f"{source}{provider}{day}",
        file_name="mpi.csv",
        same_as="",
        rows=1,
        malformed=0,
        undeclared_columns=0,
        sha256="",
        periods=periods,
    )


def test_each_provider_of_a_source_has_its_first_and_newest_extract_and_all_its_periods() -> None:
    january, march, june = date(2026, 1, 5), date(2026, 3, 5), date(2026, 6, 5)
    register = [
        entry("mental_health", "RMH", march, "1511", "1510"),
        entry("mental_health", "RMH", january, "1509", "1510"),
        entry("mental_health", "RMH", january, "1510", entity="referral"),
        entry("mental_health", "RMH", january, entity="hosp_prov_spell"),
        entry("community", "RMH", june),
    ]
    of_january = ("1509", "1510")
    by_entity = (("hosp_prov_spell", of_january), ("mpi", ("1509", "1510", "1511")), ("referral", of_january))
    assert delivered_by_provider(register) == {
        ("mental_health", "RMH"): DeliveredByProvider(january, march, ("1509", "1510", "1511"), by_entity),
        ("community", "RMH"): DeliveredByProvider(june, june, (), (("mpi", ()),)),
    }
