"""The hub with system calls that fail when a test says so: `python -m injected run ...` is `vigild run ...`.

    faults = Faults(folder)                       # of the test
    daemon = Daemon(folder, config, module="injected", env=faults.environment)
    faults.fail("memfd_create", errno.EMFILE, count=3)
    faults.hits("memfd_create")                   # how often it has failed since
    faults.lift()

Calls are patched in the hub's process alone (workers are started as `-m vigild.camera`, ...), at the last point that
is Python: what the standard library does when the kernel says no is its own and is tested with it.
`control` names the file that says what is to fail, `shim` patches the calls, `table` lists what real kernels say.
"""
