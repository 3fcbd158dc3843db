"""Tracing a forward pass that checks the shape of its inputs."""

from __future__ import annotations

import dis
import operator

from torch import fx, nn

_SHAPES = ("shape", "ndim")
_SHAPE_METHODS = ("size", "dim", "ndimension", "numel")
_OPERATORS = frozenset(
    {
        operator.getitem,
        operator.eq,
        operator.ne,
        operator.lt,
        operator.le,
        operator.gt,
        operator.ge,
        operator.add,
        operator.sub,
        operator.mul,
        operator.floordiv,
        operator.mod,
        operator.and_,
        operator.or_,
        operator.invert,
    }
)
_MOST_PATHS = 64


def trace(structure: nn.Module) -> fx.Graph:
    """Return the operations of a module's forward pass, in order.

    Where a condition on shapes of its inputs leads to a ``raise``, inputs on which the network
    works take the other path. Where both paths go on, which one is taken depends on the inputs.

    Raises
    ------
    Exception
        What the forward pass raises with proxies as inputs, on all paths.
    TraceError
        If its path depends on values, or on shapes.
    """
    graphs: list[fx.Graph] = []
    waiting: list[tuple[bool, ...]] = [()]
    tried = 0
    refusal: Exception | None = None
    while waiting:
        outcomes = waiting.pop()
        tracer = _Tracer(outcomes)
        try:
            graphs.append(tracer.without_checks(tracer.trace(structure)))
        except Exception as error:
            if not _is_raised_on_purpose(error):
                raise
            refusal = refusal or error
        asked = tuple(tracer.outcomes)
        waiting += [(*asked[:place], True) for place in range(len(outcomes), len(asked))]
        tried += 1
        if len(graphs) > 1 or tried > _MOST_PATHS:
            raise fx.proxy.TraceError("its path depends on the shape of its inputs")
    if not graphs:
        assert refusal is not None
        raise refusal
    return graphs[0]


class _Tracer(fx.Tracer):
    """Of conditions on shapes of inputs the first are as told, and the others are false."""

    def __init__(self, outcomes: tuple[bool, ...]) -> None:
        super().__init__()
        self.outcomes = list(outcomes)
        self._asked = 0
        self._checks: set[fx.Node] = set()

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Return the outcome of a condition on shapes."""
        about = _about_shapes(obj.node)
        if about is None:
            return super().to_bool(obj)
        self._checks |= about
        self._asked += 1
        if self._asked > len(self.outcomes):
            self.outcomes.append(False)
        return self.outcomes[self._asked - 1]

    def without_checks(self, graph: fx.Graph) -> fx.Graph:
        """Return a graph without the operations that only a condition needed."""
        for node in reversed(list(graph.nodes)):
            if node in self._checks and not node.users:
                graph.erase_node(node)
        return graph


def _about_shapes(condition: fx.Node) -> set[fx.Node] | None:
    """Return the operations of a condition on shapes of inputs alone; None of any other."""
    found: set[fx.Node] = set()
    waiting = [condition]
    while waiting:
        node = waiting.pop()
        if node in found:
            continue
        found.add(node)
        if _is_shape(node):
            continue
        is_plain = node.op == "call_function" and node.target in _OPERATORS
        if not is_plain or not node.all_input_nodes:
            return None
        waiting += node.all_input_nodes
    return found


def _is_shape(node: fx.Node) -> bool:
    """Return whether it is a shape of the inputs, which no change of hidden neurons changes."""
    if [each.op for each in node.all_input_nodes] != ["placeholder"]:
        return False
    if node.op == "call_method":
        return node.target in _SHAPE_METHODS
    is_attribute = node.op == "call_function" and node.target is getattr
    return is_attribute and node.args[1] in _SHAPES


def _is_raised_on_purpose(error: Exception) -> bool:
    """Return whether it comes from a ``raise``, or an ``assert``, in the network's own code."""
    if isinstance(error, fx.proxy.TraceError):
        return False
    step = error.__traceback__
    while step and step.tb_next:
        step = step.tb_next
    assert step
    code, home = step.tb_frame.f_code.co_code, str(step.tb_frame.f_globals.get("__name__", ""))
    is_of_torch = home.partition(".")[0] == "torch"
    return not is_of_torch and dis.opname[code[step.tb_lasti]] == "RAISE_VARARGS"
