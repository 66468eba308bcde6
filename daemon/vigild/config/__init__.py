"""The configuration: one TOML file, typed, with a default for everything.

`schema`     the keys, their types, defaults and what a reload does with each
`units`      "75 °C", "256 MiB", "10 s"
`load`       TOML text and overrides in, a Config or sentences about what is wrong out
`reference`  the whole schema as commented TOML, for `vigild config`

Standard library and msgspec only: every process imports it.
"""
