"""Value lists of the Client Level Data, and their spelling in Release 1."""

REQUEST, ASSESSMENT, SERVICE, REVIEW = range(4)
EVENT_TYPES = ["Request", "Assessment", "Service", "Review"]
USER, CARER, ASSOCIATED = range(3)
CLIENT_TYPES = ["Service user", "Unpaid carer", "Unpaid carer known by association"]

SERVICES = {
    "Reablement": ("Short term support: ST-Max", 0.0),
    "Home support or domiciliary care": ("Long term support: Community", 0.38),
    "Day support": ("Long term support: Community", 0.10),
    "Direct payment": ("Long term support: Community", 0.10),
    "Equipment": ("Short term support: Other short term", 0.14),
    "Extra care housing": ("Long term support: Community", 0.05),
    "Long term residential care": ("Long term support: Residential care", 0.13),
    "Long term nursing care": ("Long term support: Nursing care", 0.06),
    "Short term residential care": ("Short term support: Other short term", 0.04),
    "Unpaid carer respite": ("Unpaid carer support: Direct to unpaid carer", 0.0),
}
"""Service components with their service type and how often they are arranged after an assessment."""
COMPONENTS = list(SERVICES)
LONG_TERM_SUPPORT = "Long term support"
"""First words of the types of long term services."""
REABLEMENT, HOME_SUPPORT, RESIDENTIAL, RESPITE = (
    COMPONENTS.index(name)
    for name in ("Reablement", "Home support or domiciliary care", "Long term residential care", "Unpaid carer respite")
)
RESIDENTIAL_COMPONENTS = (RESIDENTIAL, RESIDENTIAL + 1)

ETHNICITIES = {
    "A": "White: English, Welsh, Scottish, Northern Irish or British",
    "B": "White: Irish",
    "C": "White: Any other White background",
    "D": "Mixed or multiple ethnic groups: White and Black Caribbean",
    "E": "Mixed or multiple ethnic groups: White and Black African",
    "F": "Mixed or multiple ethnic groups: White and Asian",
    "G": "Mixed or multiple ethnic groups: Any other Mixed or multiple ethnic background",
    "H": "Asian or Asian British: Indian",
    "J": "Asian or Asian British: Pakistani",
    "K": "Asian or Asian British: Bangladeshi",
    "L": "Asian or Asian British: Any other Asian background",
    "M": "Black, Black British, Caribbean or African: Caribbean",
    "N": "Black, Black British, Caribbean or African: African",
    "P": "Black, Black British, Caribbean or African: Any other Black, Black British or Caribbean background",
    "R": "Asian or Asian British: Chinese",
    "S": "Other ethnic group: Any other ethnic group",
    "Z": "No data: Undeclared or not known",
}
"""Client Level Data ethnicity of each NHS category."""
SUPPORT_REASONS = [
    "Physical support: Personal care support",
    "Physical support: Access and mobility only",
    "Support with memory and cognition",
    "Learning disability support",
    "Mental health support",
    "Social support: Support to unpaid carer",
    "Unknown",
]
ACCOMMODATIONS = [
    "Owner occupier or shared ownership scheme",
    "Tenant: Local authority or other social housing provider",
    "Tenant: Private landlord",
    "Settled mainstream housing with family or friends",
    "Sheltered housing, extra care housing or other sheltered housing",
    "Registered care home",
    "Unknown",
]
EMPLOYMENTS = [
    "Not in paid employment: Not actively seeking work or retired",
    "Not in paid employment: Seeking work",
    "Paid: Less than 16 hours a week",
    "Unknown",
]
OUTCOMES = [
    "Progress to assessment, review or reassessment",
    "Progress to support planning or services",
    "NFA: Information and advice or signposting",
    "Continuation of support or services",
    "NFA: Support ended as planned",
]
LOCATIONS = [f"1-99900{number:04d}" for number in range(1, 13)]
"""Registered care locations, numbered outside the range in use."""
RELEASE_1_SPELLINGS = {
    "Service user": "Service User",
    "Unpaid carer": "Carer",
    "Unpaid carer known by association": "Carer known by association",
    "Home support or domiciliary care": "Home Support",
    "Day support": "Day Support",
    "Extra care housing": "Extra Care Housing Support",
    "Unpaid carer respite": "Carer Respite",
    "Unpaid carer support: Direct to unpaid carer": "Carer Support: Direct to Carer",
    "Long term support: Residential care": "Long Term Support: Residential Care",
    "Long term support: Nursing care": "Long Term Support: Nursing Care",
    "Short term support: ST-Max": "Short Term Support: ST-Max",
    "Physical support: Access and mobility only": "Physical Support: Access & mobility only",
    "Physical support: Personal care support": "Physical Support: Personal care support",
    "Support with memory and cognition": "Support with Memory & Cognition",
    "Social support: Support to unpaid carer": "Social Support: Support to Carer",
    "NFA: Support ended as planned": "NFA - Support ended as planned",
    "NFA: Information and advice or signposting": "NFA - Information & Advice / Signposting only",
} | {text: text.replace(": ", " - ") for text in ETHNICITIES.values()}  # fmt: skip
