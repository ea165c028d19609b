"""From records to figures: reads the three tables of a study and nothing else.

    table       loads and checks results/<name>/{runs,history,layers}.parquet; labels; score arrays
    robustness  the figures of merit, each with a 95 % interval, as one row per label
    style       a colour, a marker and a readable name for each label; how a figure is saved
    figures     score against learning rate; convergence for each learning rate
    geometry_figures   distances against learning rate; hyperspherical energy during training
    report      `python -m analysis.report NAME`: all of the above, and report.html

Nothing here trains, imports torch or depends on `study` beyond the table contract in
`study.schema`, so every number and every figure can be redrawn from the records alone.
"""
