"""Which models there are, where they come from, and where they lie on this machine.

`entry`      what a manifest says of a model; `decoding`: of the outputs of one without the post-process op
`manifest`   TOML text in, entries out, or sentences about what is wrong
`library`    the manifests of this machine, merged: shipped, the administrator's, the user's
`embedded`   which entry comes with the package
`store`      the folders that model files are in
`resolve`    `model.name` and `model.variant` to a file with its labels, hash and anchors
`contents`   what the files of a model hold: compared at a reload, watched while it runs
`profile`    what was measured on this board, as a file (tune.json), and whether it still holds
`choose`     from that and budgets to one setting, with the reason
`pick`       what the profile speaks for, on one rung of the delegate ladder
`download`   HTTP to a file, resumed, bounded and checked
`pull`       a manifest's variant fetched from its publisher

Standard library and msgspec only; the hub, the detector worker and the command line import it.
"""
