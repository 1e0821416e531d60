"""Another trainer makes the updates: lrpath runs a command for each stretch of a path, and checks its answer.

    settings          the configuration's section `engine`
    exchange          the files that a command is given: what to do, rates, the data's positions, held-out windows
    process           runs a command, and passes signals on to it
    answer            what a command says it did, compared with what it was asked
    foreign_state     a state in the other trainer's own files: whole or absent, with digests, never opened by lrpath
    command_trainer   puts them together; it is the plan runner's engine

No torch is imported here. docs/another_trainer.md describes the files for those who write a command.
"""
