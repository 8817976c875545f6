"""What a person sees and types: the terminal dashboard and the command line."""
