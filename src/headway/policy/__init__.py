"""Pure decisions: no clock, no dice, no await, no I/O. Time (`now_s`) and `Random` are arguments."""
