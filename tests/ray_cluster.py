"""A Ray cluster of several nodes on this machine, for tests: small, without a dashboard, in processes of its own."""
from contextlib import contextmanager
from pathlib import Path

from rlvd_nb.core.workers import environment

SMALL = dict(object_store_memory=80 << 20)
QUICK = dict(health_check_initial_delay_ms=500, health_check_period_ms=500, health_check_failure_threshold=4)


class Nodes:
    "A head that does no work, and nodes that come and go."
    def __init__(self, count: int = 2):
        from ray.cluster_utils import Cluster
        head = dict(num_cpus=0, include_dashboard=False, _system_config=QUICK, **SMALL)
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address = self.cluster.address
        self.nodes = [self.add() for _ in range(count)]

    def add(self, **variables):
        "A node of one processor, with these environment variables; it can import what tests share."
        with environment(**dict(PYTHONPATH=str(Path(__file__).parent)) | variables):
            return self.cluster.add_node(num_cpus=1, **SMALL)

    def remove(self, node) -> None:
        "Kill a node's processes."
        self.cluster.remove_node(node, allow_graceful=False)

    @contextmanager
    def one_more(self, **variables):
        "A node for the length of a block."
        node = self.add(**variables)
        try: yield node
        finally:
            if node in self.cluster.worker_nodes: self.remove(node)

    def workers(self) -> list[int]:
        "Process ids of the workers that are at a job."
        raylets = {node.all_processes["raylet"][0].process.pid for node in self.cluster.list_all_nodes()}
        return [pid for pid, parent, name in processes() if parent in raylets and name.startswith("ray::Worker.")]


def processes():
    "Id, parent and command of every process."
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            yield int(stat.parent.name), parent, stat.with_name("cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError): pass  # it has ended meanwhile
