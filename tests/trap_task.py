"""A task for the tests alone: words that make the verifier misbehave in every way it can."""
import os, signal, time

from rlvd_nb.tasks.base import RIGHT, WRONG, Grade, Question

TRAPS = ("kill", "exit", "raise", "sleep", "hoard")


def question(gold):
    return Question(id=f"q-{gold}", prompt=f"say {gold}", gold=gold, split="test")


def hoard():
    "Use up the memory, and hide that it ran out, as a verifier may."
    blocks = []
    try:
        while True: blocks.append(bytearray(8 * 2**20))
    except MemoryError: return Grade(WRONG)


class Trap:
    name, version, max_tokens, untrusted = "trap", "1", 8, True

    def __init__(self, log=None):
        self.log = log  # a file that gets a line a call

    def grade(self, question, completion):
        if self.log:
            with open(self.log, "a") as file: file.write(completion + "\n")
        if completion == "kill": os.kill(os.getpid(), signal.SIGKILL)
        if completion == "exit": os._exit(3)
        if completion == "raise": raise RecursionError("too deep")
        if completion == "sleep": time.sleep(60)
        if completion == "hoard": return hoard()
        return Grade(RIGHT if completion == question.gold else WRONG, completion)


class Stillborn(Trap):
    "A worker cannot even receive it."
    def __setstate__(self, state): raise OSError("cannot be unpickled here")


class Slow(Trap):
    "Takes its time, here or in workers."
    version, source = "slow", lambda self: dict(task="slow")

    def __init__(self, log, untrusted, seconds=.02):
        super().__init__(log)
        self.untrusted, self.seconds = untrusted, seconds

    def grade(self, question, completion):
        time.sleep(self.seconds)
        return super().grade(question, completion)
