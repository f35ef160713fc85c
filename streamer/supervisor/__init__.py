"""One recording and its processes: they are started, watched, recycled and stopped, and what came of it is reported.

`workdir` is the folder of a run and `context` what every part of it is given. `recording` streams one recording:
`session` is the loop over its processes (`child`), `policy` the pure judge of their life and death, `tally` what is
counted, `status` and `report` what a person sees of it.
"""
