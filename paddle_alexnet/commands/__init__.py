"""The command line, one file a subcommand: parse, one call into the package, print. The only code that knows a flag."""
