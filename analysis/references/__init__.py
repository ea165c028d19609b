"""The studies behind README and docs, under results/reference: which they are, and what follows from them.

studies  which there are and their commands (results/reference/commands.yaml); what is kept of each
texts    tables in README and docs whose figures are read from their robustness.csv
"""
