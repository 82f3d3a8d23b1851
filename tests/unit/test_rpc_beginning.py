"""Which words to begin are new, told as histories."""

from shmbus.rpc.beginning import EPOCH, Begin, Epochs, word_of
from shmbus.v1.eventbus_pb2 import ControlOperation


def test_each_epoch_is_heeded_once_and_none_after_a_later_one():
    epochs = Epochs()
    heeded = [number for number in (5, 5, 7, 6, 7, 5, 9, 9) if epochs.heed(Begin(number, "agent"))]
    assert heeded == [5, 7, 9]


def test_a_word_carries_its_epoch_as_a_control_message_of_the_schema():
    word = word_of(7)
    assert word.operation == ControlOperation.BEGIN_MONITORING == 100 and word.parameters[EPOCH] == "7"
