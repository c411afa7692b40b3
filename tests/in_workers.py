"""What tests let worker processes do; a module that they import in no time."""

import os
import signal
import time

from dfercli.preprocessing import source_worker


def set_up_trouble(argument):
    def do(job, report):
        report(1, 0)
        if job == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if job == "exit":
            os._exit(7)
        if job == "hang":
            time.sleep(60)
        return f"{argument} {job}"

    return do


def set_up_that_dies(setting):
    do = source_worker.set_up_sources(setting)

    def dying(job, report):
        if job.stretch is not None and job.stretch.number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return do(job, report)

    return dying


def set_up_that_is_written_over(setting):
    do = source_worker.set_up_sources(setting)

    def changing(job, report):
        if job.stretch is not None and job.stretch.number == 1:
            with job.source.path.open("ab") as file:
                file.write(b"more")
        return do(job, report)

    return changing


def holds_back_ctrl_c():
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def tell(connection):
    connection.send(holds_back_ctrl_c())


def tell_the_pool(_):
    return lambda _job, _report: holds_back_ctrl_c()
