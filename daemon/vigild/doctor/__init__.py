"""What is on this board, what is wrong with it for vigild, and what to do.

    for finding in examine(Subject(root=Path("/"), config=None)):
        print(finding.name, finding.state, finding.found, finding.todo)

`finding`    one line of the report
`examine`    all checks, in the order of the report
`machine`, `thermal`, `memory`, `service`   files and the operating system
`cameras`, `libraries`, `models`            what is tried in a `vigild.sandbox`
`tasks`      what runs there
`report`     findings as text, or as JSON

Nothing native is loaded here: OpenCV, runtimes, delegates and camera sources are tried in
throw-away processes with a time limit, by the code that the workers use.
"""
