"""How much does a finetuning result depend on its hyperparameters? The pipeline, file by file:

sweeps/NAME.yaml -> config      settings, composed; checks: refused before anything starts
                 -> coordinator plans, has what is missing done, keeps the folder in order (command: sweep)
                 -> plan        runs, and packs of runs that train together
                 -> profiles    what a method costs on this machine, kept or measured
                 -> launch      worker processes on this machine, or
                    slurm       array tasks on a cluster (squeue: what Slurm says; node: what they run)
worker           -> profile     does a method pack, and at which size is it fastest?   (torch from here on)
                 -> memory      what a pack needs on its device, counted from shapes or tensors
                 -> train       one pack from start to end, measured on the way (geometry)
                 -> packing     many runs of one method over one shared frozen base model
                 -> checkpoints what a pack in training leaves, so that it goes on bit for bit
                 -> records     one file per pack, written once and whole (files)
records          -> schema      three tables, whose columns are listed there; trials: an Optuna index
compare          a new method against a baseline: both run the same sweep
evaluate         benchmarks of the language models that runs leave, by lm-evaluation-harness
status           how a study stands, from its files and squeue

methods/         a name -> a `peft` config; ETHER, ETHER+, OFT, Naive over one shared tuner
tasks/           a name -> base model, data (loading), loss, metrics; what ships with the project (miniature)
analysis/        tables -> robustness, figures, report (a package beside this one)
"""
