"""Studies: the paper's tables as variants, their runs, and the tables and figures that come out."""
