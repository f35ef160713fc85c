"""Start, watch, replace and stop the processes of a run; nothing here touches a frame.

`policy` decides (pure), `child` owns one process, `session` ties one recording's processes together,
`run` takes the recordings one after the other, `report` writes down what happened.
"""
