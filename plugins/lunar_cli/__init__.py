"""The command line ``lunar``: a group whose commands are plugins, and recipes that train by name."""
