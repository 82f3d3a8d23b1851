"""A collector for tests: `python -c LAB bus id concurrency`. It says what it does, a line each, on its output."""

LAB = """
import os, signal, sys, threading, time
import shmbus
from shmbus.rpc import EXECUTE_TASK, PAUSE, RESUME, UPDATE_CONFIG, Collector, Server, operation
from shmbus.v1.eventbus_pb2 import HeartbeatPayload
from shmbus.v1.ipc_pb2 import DetectionResult
from shmbus.v1.rpc_pb2 import HealthStatus

bus_name, name, concurrency = sys.argv[1], sys.argv[2], int(sys.argv[3])
say = lambda *words: print(*words, flush=True)

class Lab(Collector):
    event_types = (0,)
    features = ("lab",)
    done = 0
    running = most = 0
    lock = threading.Lock()

    @operation(PAUSE)
    def pause(self, request):
        self.paused = True

    @operation(RESUME)
    async def resume(self, request):
        self.paused = False

    @operation(UPDATE_CONFIG)
    def update(self, request):
        for key in request.payload.config_changes:
            raise request.refuse("VALIDATION_FAILED", f"{key} cannot be", key=key)

    @operation(EXECUTE_TASK)
    def execute(self, request):
        if request.payload.metadata == "nonsense":
            return 7
        with self.lock:
            self.done += 1
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            return DetectionResult(task_id=request.payload.task_id, success=True, error_message=self.do(request))
        finally:
            with self.lock:
                self.running -= 1

    def do(self, request):
        verb, _, rest = request.payload.metadata.partition(" ")
        if verb == "sleep":
            say("began", request.payload.task_id)
            gone = request.wait(float(rest))
            say("cancelled" if gone else "slept", request.payload.task_id)
        elif verb == "hold":
            time.sleep(float(rest))  # and hears nothing
        elif verb == "raise":
            raise ZeroDivisionError("as asked")
        elif verb == "blob":
            return "x" * int(rest)
        elif verb == "publish":
            with bus.publisher("lab.events") as publisher:
                publisher.publish(HeartbeatPayload(component_id="the handler"))
        elif verb == "ail":
            bus.beat(HealthStatus.Value(rest))
        elif verb == "most":
            return str(self.most)
        return f"{os.getpid()} {self.done}"

with shmbus.connect(bus_name, name=name) as bus:
    lab = Lab(name)
    threading.Thread(target=lambda: (sys.stdin.read(), lab.stop()), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: lab.stop())
    with Server(bus, lab, concurrency=concurrency) as server:
        lab.attach(server)
        say("serving", os.getpid())
        server.run()
say("ended")
"""
