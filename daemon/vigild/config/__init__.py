"""The configuration: one TOML file, typed, with a default for everything.

`schema`     the keys, their types, defaults and what a reload does with each
`load`       TOML text and overrides in, a Config or sentences about what is wrong out
`changes`    what differs between two configurations, and what follows from it
`keys`       single keys by name: shown, set
`reference`  the whole schema as commented TOML, for `vigild config`
`credentials`   passwords that are named in the file and held elsewhere
`source`     what a camera's source means, and how to show it without its credentials
`units`      "75 °C", "256 MiB", "10 s"

All of them walk one `tree` of tables, found from the schema's types, of keys as `fields`. Parts of `load`: `document`
(TOML and overrides, with their origin), `values` (one value against its type), `targets` (what a text points at),
`rules` (keys against each other), `names` (what is said of one that is unknown).

Standard library and msgspec only: every process imports it.
"""
