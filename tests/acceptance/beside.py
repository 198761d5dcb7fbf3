"""A machine beside the host, on a network of their own: a namespace, whose packets the host passes on."""

from __future__ import annotations


def beside(name: str, address: str, own: str) -> str:
    """Return the shell lines that make the machine ``own``, and give the host its address there; both end in ``/bits``.

    What is called with ``ip netns exec NAME`` runs on that machine; ``ip netns del NAME`` ends it.
    """
    return f"""\
ip netns add {name}
ip link add {name}0 type veth peer name inside netns {name}
ip address add {address} dev {name}0
ip link set {name}0 up
ip -n {name} address add {own} dev inside
ip -n {name} link set inside up
ip -n {name} route add default via {address.partition("/")[0]}
"""
