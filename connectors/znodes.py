"""Nodes of ZooKeeper as they are read, and what a commit does to them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """A node as it was read. version: how often it was written; owner: the session that it is ephemeral in, 0 for none."""

    data: bytes
    version: int
    owner: int


@dataclass(frozen=True)
class Check:
    """Of a commit: the node is there, with this version; −1: with any."""

    path: str
    version: int = -1


@dataclass(frozen=True)
class Create:
    """Of a commit: a node that is not there. Its parents are."""

    path: str
    data: bytes
    ephemeral: bool = False


@dataclass(frozen=True)
class Write(Check):
    """Of a commit: the node's data."""

    data: bytes = b""


@dataclass(frozen=True)
class Delete(Check):
    """Of a commit: the node goes."""


Change = Check | Create | Write | Delete
"""What a commit is made of."""
