"""Scripts that make what ships with the project: `python -m study.pretraining.NAME --out FOLDER`.

vit      the small ViT of task `vtab`, trained on upright digits (seconds on one core)
deberta  the small DeBERTa of task `glue`, trained on English prose (a quarter of an hour)
llama    the small Llama of task `instruct`, trained on prose and on commands for words (12 minutes)
prose    that prose, out of CPython's documentation
"""
