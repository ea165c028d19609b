"""How much does a finetuning result depend on its hyperparameters? From a command to its tables, by floors:

sweep compare status evaluate rerun     the commands; __main__ has them under one name
coordination   a study's folder: plans it, has what is missing done, collects
training       what a worker does: many runs of one method at once, over one frozen model      (torch)
config cli     YAML and overrides -> settings, checked; arguments, exit codes, progress
launchers      where jobs run: worker processes on this machine, array tasks on a cluster
storage        what a study keeps: records, tables, checkpoints, adapters; whole or not there
planning       settings -> runs -> packs -> jobs: pure functions
methods tasks  a name -> a `peft` config; a name -> base model, data, loss, metrics            (torch)
settings paths errors             the ground

evaluation     benchmarks of the language models that runs leave                               (torch)
testing        the contracts of methods, tasks and launchers, as checks                        (torch)
pretraining    scripts that rebuild the shipped checkpoints                                    (torch)

A floor imports from those below it, never from above (import rules: pyproject.toml). The package `analysis`,
beside this one, makes figures and reports of a study's tables and of nothing else.
"""
