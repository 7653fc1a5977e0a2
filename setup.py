"""Packaging: an installed wheel holds the code, the mappings, the configuration, the demo vocabulary and the pinned versions.

pyspark is not a base requirement, because Databricks and spark-submit bring their own. A host without Spark takes the extra
`embedded`; `spark` brings Apache Spark. pyspark-client and pyspark fill the same folder, so the two are not installed together.
"""

from pathlib import Path

from setuptools import setup

PROJECT = Path(__file__).resolve().parent
CODE = ("pipelines", "vocab", "jobs")
EMBEDDED_ENGINE = "pysail==0.7.2"
LINEAGE = "openlineage-python>=1.54,<2"
POSTGRESQL = "psycopg[binary]>=3.3,<4"
S3 = "s3fs>=2026.2,<2027"


def folders_of(folder: str) -> list[str]:
    """A folder and every folder in it, of code or of data, as package names."""
    folders = [
        PROJECT / folder,
        *(path for path in (PROJECT / folder).rglob("*") if path.is_dir() and path.name != "__pycache__"),
    ]
    return sorted(".".join(path.relative_to(PROJECT).parts) for path in folders)


def version() -> str:
    """The version that `pipelines/__init__.py` states."""
    lines = (PROJECT / "pipelines" / "__init__.py").read_text(encoding="utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("__version__"))


PACKAGES = [package for folder in (*CODE, "mappings", "conf") for package in folders_of(folder)]

setup(
    name="nhs-omop",
    version=version(),
    description="NHS extracts of six sources to the OMOP common data model",
    long_description=(PROJECT / "README.md").read_text(encoding="utf-8") if (PROJECT / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=PACKAGES,
    package_data={"": ["*.yaml", "*.csv", "*.md", "*.txt", "*.html", "*.css"]},
    zip_safe=False,
    install_requires=[
        "cryptography>=44",
        "deltalake>=1.6,<2",
        "duckdb>=1.4,<3",
        "great-expectations>=1.24,<2",
        "Jinja2>=3.1,<4",
        "numpy>=2,<3",
        "omop-cdm==0.7.0",
        "pandas>=2.2,<3",
        "pyarrow>=18",
        "pydantic>=2.9,<3",
        "PyYAML>=6,<7",
        "rapidfuzz>=3.9,<4",
        "rich>=13",
        "SQLAlchemy>=2,<3",
        "typer>=0.15,<1",
        "universal-pathlib>=0.3.10,<0.4",
    ],
    extras_require={
        "embedded": ["pyspark-client==4.2.0", EMBEDDED_ENGINE],
        "spark": ["pyspark[connect]>=4.0.5,<=4.2.0", "delta-spark==4.4.0"],
        "azure": ["adlfs>=2025.8", "azure-identity>=1.19,<2", "azure-keyvault-secrets>=4.9,<5"],
        "databricks": ["databricks-sdk>=0.38,<1"],
        "lineage": [LINEAGE],
        "postgresql": [POSTGRESQL],
        "s3": [S3],
        "dev": [
            LINEAGE,
            POSTGRESQL,
            S3,
            "axe-playwright-python==0.1.8",
            "boto3",
            "databricks-bundles==1.22.1",
            "hypothesis==6.170.15",
            "import-linter==2.16",
            "moto[server]==5.2.5",
            "mypy==2.4.1",
            EMBEDDED_ENGINE,
            "playwright==1.65.2",
            "pytest==9.2.0",
            "pytest-timeout==2.4.0",
            "pytest-xdist==3.8.0",
            "ruff==0.17.6",
            "scipy",
            "setuptools>=77",
            "types-PyYAML",
            "uv==0.13.9",
        ],
    },
    entry_points={"console_scripts": ["nhs-omop=jobs.cli:main"]},
    classifiers=[
        "Intended Audience :: Healthcare Industry",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
)
