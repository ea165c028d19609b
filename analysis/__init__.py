"""From records to figures: reads the tables of a study and nothing else.

    report compare paper   the commands, `python -m analysis.NAME`
    data         loads and checks results/<name>/{runs,history,layers}.parquet; labels; arrays of scores
    statistics   who learns, figures of merit and their intervals, superlatives, paired tests
    figures      pictures of a study, each as PNG, PDF, SVG and CSV; `catalogue` lists those of every report
    comparison   new methods beside a baseline: numbers, sentences, costs
    paper        the paper's figures, tables and claims
    references   the committed studies behind README and docs: `make references`, and what follows from them
    reporting    what HTML reports are made of; templates: their text, and the scripts of their charts
    exporting    LaTeX, Markdown, CSV, the protocol in words and references, for the paper one writes

Nothing here trains or imports torch (but `paper`, which counts full-size models), or depends on `study`
beyond the tables' contract in `study.schema`, so every number and every figure can be redrawn from the
records alone. Importing it has no side effects.
"""
