"""The command `minicnn`: one file a subcommand, loaded when it is called."""
