"""Where hosts come from: the config file, ssh_config, plain arguments."""
