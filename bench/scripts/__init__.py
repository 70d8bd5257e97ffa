"""What JavaScript costs besides time: memory, growth in long runs, and how much the scripts of one API disturb another."""
