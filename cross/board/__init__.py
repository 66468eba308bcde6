"""vigild-deploy: installs releases on the board it runs on, tries them, and puts the last good one back.

Standard library only, for the board's own Python (3.10 or newer). It has no need of ssh or of the machine that sent
the bundle: `make install` on the board runs the same code.

/opt/vigild/
    releases/ID/        one whole release: venv/, systemd/, vigild.toml, complete.json (written last)
    environments/HASH/  what releases of one lock file share: NumPy, OpenCV, the runtime
    store/SHA256        files of bundles, by their hash: only what is new is sent
    current             a link to the release that runs
    journal.json        what is being tried, what was good before, how often it may still be tried
"""

FORMAT = 1
"""Of the bundle and of the journal: a number that is not known is refused, never guessed at."""
