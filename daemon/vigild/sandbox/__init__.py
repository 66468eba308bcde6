"""Tasks in a process of their own, because native code may hang, abort or segfault in it.

    result = run("vigild.doctor.tasks", "model", ModelTask(...))      # `parent`
    if result.answer is None: print(result.death)

    if __name__ == "__main__": main({"model": model})                  # `child`, at the end of that module

`parent`    starts the process, waits no longer than a limit, and puts its death into words
`child`     that process: runs one task, says its steps and its answer in lines of JSON
`fallback`  a task on the TFLite runtime that the daemon would come to use

The tasks belong to those who want them done: `vigild.doctor.tasks`, `vigild.selftest.tasks`, `vigild.tune.tasks`.
"""
