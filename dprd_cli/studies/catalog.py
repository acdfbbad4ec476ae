"""Every study by its name: the paper's tables and figures, and those of what it leaves open."""

from __future__ import annotations

from dprd_cli.studies.paper.fig4 import FIG4
from dprd_cli.studies.paper.table1 import TABLE1
from dprd_cli.studies.paper.table2 import TABLE2
from dprd_cli.studies.paper.table3 import TABLE3
from dprd_cli.studies.paper.table4 import TABLE4
from dprd_cli.studies.paper.table5 import TABLE5
from dprd_cli.studies.readings import OFFSETS, READINGS, SIGNPOSTS
from dprd_cli.studies.study import Study

#: Name -> study.
STUDIES: dict[str, Study] = {
    study.name: study
    for study in (TABLE1, TABLE2, TABLE3, FIG4, TABLE4, TABLE5, OFFSETS, *SIGNPOSTS, *READINGS)
}
#: Name -> the studies it stands for. Tables 4 and 5 need checkpoints, and are asked for by name.
GROUPS: dict[str, tuple[str, ...]] = {
    "all": ("table1", "table2", "table3", "fig4"),
    "signpost": tuple(study.name for study in SIGNPOSTS),
    "readings": tuple(study.name for study in READINGS),
}
