"""What the nodes of a failover say of themselves."""

from typing import Any

from scaler.demo.redis_nodes import Node


async def role(node: Node) -> Any:
    return (await node.ask("ROLE"))[0]


async def is_master(node: Node) -> bool:
    return bool(await role(node) == b"master")


async def is_replica(node: Node) -> bool:
    return bool(await role(node) == b"slave")


async def is_in_step(node: Node) -> bool:
    return bool((await node.ask("ROLE"))[3] == b"connected")
