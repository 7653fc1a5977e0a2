"""Starts a command as a script: `spark-submit jobs/submit.py COMMAND ...`, or a Python script task of Databricks.

Python looks for modules in the folder of a script first, and there `vocab` would be `jobs/vocab.py`. So the project's folder
takes the place of this one. `jobs/run.py` imports this file for the same reason when it is itself the script.
"""

import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

if __name__ == "__main__":
    from jobs.cli import main

    main()
