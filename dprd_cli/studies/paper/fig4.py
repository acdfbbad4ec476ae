"""Fig. 4: how far parts may deform."""

from __future__ import annotations

from dprd_cli.studies.paper.table1 import TABLE1
from dprd_cli.studies.study import Study, Variant

# Fig. 4 is a plot without a table; Table 1 has two of its points on R50-FPN.
_SIGMA = {0.5: TABLE1.variant("all").paper, 1.0: TABLE1.variant("fixed").paper}
FIG4 = Study(
    "fig4",
    "Amount of part deformation: least IoU with the fixed part",
    "Fig. 4",
    tuple(
        Variant(
            f"sigma-{sigma:g}",
            f"sigma {sigma:g}",
            "cascade-dprd",
            {"model.parts.sigma": sigma},
            base="" if sigma == 0.5 else "sigma-0.5",
            changes=() if sigma == 0.5 else ("model.parts.sigma",),
            paper=_SIGMA.get(sigma, {}),
        )
        for sigma in (0.0, 0.1, 0.3, 0.4, 0.5, 0.7, 1.0)
    ),
    plot="curve",
    note="The paper prints no numbers of Fig. 4; those at 0.5 and 1 are Table 1's. It says that box AP is "
    "best at 0.5, mask AP at 0.3 to 0.5, and that both change by less than 0.28 from 0.3 to 0.7.",
)
