"""A collector that does detection tasks, for tests: `python -c LAB bus id [option=value ...]`.

It says what it does, a line each, on its output. What a task's metadata says it does: "sleep 0.5" looks whether anybody
still waits, "hold 0.5" does not, "deaf" neither, until SIGUSR1, "refuse CODE", "raise", "die" (of SIGKILL), and with
"ail DEGRADED" it says so of itself from then on.
"""

LAB = """
import os, signal, sys, threading, time
import shmbus
from shmbus.rpc import EXECUTE_TASK, Collector, operation
from shmbus.v1.common_pb2 import ProcessRecord, TaskType
from shmbus.v1.ipc_pb2 import AdvancedCapabilities, DetectionResult, MonitoringDomain
from shmbus.v1.rpc_pb2 import HEALTHY, HealthStatus

bus_name, name = sys.argv[1:3]
options = dict(one.split("=") for one in sys.argv[3:])
say = lambda *words: print(*words, flush=True)
heard = threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: heard.set())

class Lab(Collector):
    domains = [MonitoringDomain.Value(one) for one in options.get("domains", "PROCESS").split(",")]
    task_types = [TaskType.Value(one) for one in options.get("tasks", "").split(",") if one]
    advanced = AdvancedCapabilities(kernel_level="kernel" in options)
    attributes = {"priority": options["priority"]} if "priority" in options else {}

    def registration(self):
        wanted = super().registration()
        wanted.heartbeat_interval_ms = int(options.get("interval", "2000"))
        return wanted

    health = HEALTHY

    def own_health(self):
        return self.health

    def begin_monitoring(self, begin):
        say("monitoring", begin.epoch)

    @operation(EXECUTE_TASK)
    def execute(self, request):
        task = request.payload
        verb, _, rest = task.metadata.partition(" ")
        say("began", task.task_id)
        if verb == "sleep" and request.wait(float(rest)):
            say("cancelled", task.task_id)
        elif verb == "hold":
            time.sleep(float(rest))
        elif verb == "deaf":
            heard.wait()
        elif verb == "refuse":
            raise request.refuse(rest, "as asked")
        elif verb == "ail":
            self.health = HealthStatus.Value(rest)
            bus.beat(self.health)
        elif verb == "raise":
            raise ZeroDivisionError("as asked")
        elif verb == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        say("did", task.task_id)
        its = ProcessRecord(pid=os.getpid(), name=name)
        return DetectionResult(task_id=task.task_id, success=True, processes=[its])

with shmbus.connect(bus_name, name=name) as bus:
    lab = Lab(name)
    threading.Thread(target=lambda: (sys.stdin.read(), lab.stop()), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: lab.stop())
    ready = bus.ready
    bus.ready = lambda: (say("serving", os.getpid()), ready())[1]
    lab.serve(bus, concurrency=int(options.get("concurrency", "1")))
say("ended")
"""
