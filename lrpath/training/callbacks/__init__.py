"""The Lightning callbacks of one fit: restore a state, set the rate, record, save forks, stop. Their order matters."""
