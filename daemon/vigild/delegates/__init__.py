"""What can execute a graph, which of it is worth trying on this board, and when to give it up.

`ladder`          which delegate to use, when to give it up and when to try it again (pure)
`prospects`       which delegates are worth trying for a model on this board, and why one failed
`runtime_choice`  which TFLite runtime to start when one of them is deadly (pure)
`edgetpu`         Edge TPUs as the kernel shows them, and whether their library is installed

Standard library and msgspec only: the hub imports it. Loading a delegate is the detector worker's business
(`detector.native_delegate`).
"""
