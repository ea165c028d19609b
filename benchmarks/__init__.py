"""Measurements of the harness itself, one file each; each leaves CSVs and figures in results/benchmark/
(gpu: in results/gpu/)."""
