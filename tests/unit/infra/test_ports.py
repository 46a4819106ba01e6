"""Ports: free or not, and whose."""

import os
import socket

import pytest

from infra.ports import choose_port, is_free, is_listening


@pytest.fixture
def listener():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server


def test_a_port_that_is_taken_is_not_chosen(listener):
    taken = listener.getsockname()[1]
    assert not is_free(taken)
    assert choose_port(taken) != taken


def test_a_port_that_is_free_is_chosen():
    port = choose_port()
    assert is_free(port)
    assert choose_port(port) == port


def test_who_listens_is_told_from_who_does_not(listener):
    port = listener.getsockname()[1]
    assert is_listening(os.getpid(), port)
    assert not is_listening(os.getppid(), port)
    assert not is_listening(os.getpid(), choose_port())


def test_a_process_that_ended_listens_nowhere(listener):
    assert not is_listening(2**22 + 1, listener.getsockname()[1])
