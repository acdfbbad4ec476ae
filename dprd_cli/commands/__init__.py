"""One thin module a command: parse, one library call, print. Heavy imports happen inside the commands."""
