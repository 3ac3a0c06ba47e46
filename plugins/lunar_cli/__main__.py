"""``python -m lunar_cli``, the same as ``lunar``."""

from lunar_cli.main import main

raise SystemExit(main())
