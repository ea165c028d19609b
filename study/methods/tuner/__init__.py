"""The shared tuner of all multiplicative methods: y = post(W pre(x)) + b, as a `peft` tuner.

A multiplicative method replaces the weight W of a linear layer by a transformed one, W' = N W M.
Here it never touches W: M acts on the input (`pre`), N on the output before the bias (`post`),
which costs O(d) or O(d b) per token where the weight-side form costs O(d f b) per step and a
weight-sized gradient. The paper writes W as (d, f) and applies W^T; torch's `weight` is W^T, (f, d),
so the paper's "left of W" is the input side here.

`config` has the options that all of them share, `layer` the forward pass, merging and diagnostics of one
adapted layer, `model` what puts layers into a base model, `registry` what makes methods known to `peft`.
`projections` and `blocks` compute what methods make of activations, with backward passes of their own.
"""
