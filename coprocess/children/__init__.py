"""Child processes under supervision: what the JSON-RPC driver and the Python plugin hosts have in common.

    settings = ChildSettings(name="host a", argv=("python3", "host.py"), env={"PLUGIN": "a"})
    child = SupervisedChild(settings, listener, log)     # listener: started(), received(data), lost(why)
    child.start()                                        # on a running loop
    child.write(frame)                                   # False: nothing runs, or too much waits to be read
    child.proven()                                       # it answered: its next end is no failure at the start
    child.kill("answered garbage")                       # replaced, with back-off if it had not lived long
    await child.stop()                                   # end of input, SIGTERM, SIGKILL

What holds for every child:
* It is made by vfork and exec, leads its own process group, and gets SIGKILL when the worker dies, however that happens. What
  it has started by itself is not told of that: whoever started the worker ends it (core.process.strays).
* It has descriptors 0, 1 and 2, all of them pipes, and no other.
* Its whole group is killed with it, and it is always reaped (through a pidfd, without any handler of SIGCHLD).
* Standard error goes to the log line by line; lines and bytes per second are bounded, and a child that writes more waits.
* Reading and writing never block the loop; bytes that wait for a child are bounded by `max_unsent`.
* Linux only: pidfd_open (5.3).
"""

from coprocess.children.lines import LineLog, Log
from coprocess.children.settings import ChildSettings, split_command
from coprocess.children.supervised import Listener, Running, SupervisedChild

__all__ = ["ChildSettings", "LineLog", "Listener", "Log", "Running", "SupervisedChild", "split_command"]
