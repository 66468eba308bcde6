"""A try in a process of its own, because native code may hang, abort or segfault in it.

    tried = run("vigild.doctor.tasks", "model", ModelTask(...))      # `parent`
    if tried.answer is None: print(tried.death)

    if __name__ == "__main__": main({"model": model})                  # `child`, at the end of that module

`parent`   starts the process, waits no longer than a limit, and puts its death into words
`child`    that process: runs one task, says its steps and its answer in lines of JSON
`runtime`  a try on the TFLite runtime that the daemon would come to use

What can be tried belongs to those who try: `vigild.doctor.tasks`, `vigild.selftest.tasks`, `vigild.tune.tasks`.
"""
