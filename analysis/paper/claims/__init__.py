"""The paper's claims C1-C7, each with the test that decides it, and the verdicts on given records.

C8 is ours: what the paper's Tables 2, 4 and 5 show, put as a claim.

A claim is made of parts. A part states a figure, its interval, and what the figure must be; it is
*reproduced* if the whole interval is where the paper's claim puts it, *not reproduced* if the whole
interval is elsewhere, else *undecided*. A claim is reproduced if all its parts are, not reproduced if
one is not, else undecided. Thresholds are constants, stated beside what they decide.

Intervals are 95 %: bootstrapped over seeds as in `analysis.statistics.bootstrap`, or Student's for
differences that are paired by seed (same seed: same initial draw and data order for every method).

A study gives no verdict with fewer than three seeds, nor on parts that rest on a method that does not learn
(`analysis.statistics.learning`): such parts are undecided and say why.

Margins are of scores in 0..1 (accuracy, Matthews and other correlations, exact match). A metric of which less
is better (perplexity) enters as minus its logarithm (`comparable`), so that a margin of 0.02 is 2 % of it.
"""
