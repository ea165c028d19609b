"""How much does a finetuning result depend on its hyperparameters? The pipeline, file by file:

sweeps/NAME.yaml -> config    settings, composed and checked          (no torch up to here ...)
                 -> plan      runs, and packs of runs that train together
                 -> profiles  what a method costs on this machine, kept or measured
                 -> launch    worker processes on this machine
                 -> sweep     the coordinator: plans, launches, collects, draws the report
                                                                       (... and in worker, torch)
worker           -> profile   does a method pack, and at which size is it fastest?
                 -> train     one pack from start to end, measured on the way (geometry)
                 -> packing   many runs of one method over one shared frozen base model
                 -> records   one file per pack, written once and whole
records          -> schema    three tables, whose columns are listed there; trials: an Optuna index

methods/         a name -> a `peft` config; ETHER, ETHER+, OFT, Naive over one shared tuner
tasks/           a name -> base model, data, loss, metrics
analysis/        tables -> robustness, figures, report (a package beside this one)
"""
