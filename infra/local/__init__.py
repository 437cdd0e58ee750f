"""The servers of a team as plain processes of one machine.

Files of the state folder are all that is remembered: `env` holds the generated credentials and the addresses, `pids/`
which processes are ours, `logs/` what they said. Credentials travel in environments and in files that only their owner
reads, never on a command line.
"""
